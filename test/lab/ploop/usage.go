// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import "strings"

// usageSummary lists the commands, as `ploop` without or with an unknown one does.
func (t *Tool) usageSummary() {
	more := ""
	if t.vz9 {
		more = "\n       ploop tg-init DEVICE NAME TG_BLOCKSIZE\n       ploop tg-deinit DEVICE\n       ploop tg-status DEVICE"
	}
	t.raw("%s", strings.Replace(summary, "@", more, 1))
}

const summary = `Usage: ploop init -s SIZE [-f FORMAT | -L LABEL] NEW_DELTA | DEVICE
       ploop mount [-r] [-m DIR] DiskDescriptor.xml
       ploop umount { -d DEVICE | -m DIR | DELTA | DiskDescriptor.xml }
       ploop check [-fFcrsdS] [-R -b BLOCKSIZE] { DELTA | DiskDescriptor.xml }
       ploop convert [-f FORMAT] [-v VERSION] DiskDescriptor.xml
       ploop resize -s SIZE DiskDescriptor.xml | DEVICE
       ploop balloon { show | status | clear | change | complete | check |
                       repair | discard } ... DiskDescriptor.xml
       ploop snapshot DiskDescriptor.xml
       ploop snapshot-delete -u UUID DiskDescriptor.xml
       ploop snapshot-merge [-u UUID] DiskDescriptor.xml
       ploop snapshot-switch -u UUID DiskDescriptor.xml
       ploop snapshot-list [-o field[,field...]] [-u UUID] DiskDescriptor.xml
       ploop tsnapshot -u UUID -c COMPONENT DiskDescriptor.xml
       ploop restore-descriptor [-f FORMAT] [-b BLOCKSIZE] IMAGE_DIR BASE_DELTA
       ploop replace -i DELTA DiskDescriptor.xml
       ploop encrypt [-k KEY] [-w] DiskDescriptor.xml@
Also:  ploop { start | stop | delete | clear | merge | grow | copy |
               stat | info | list} ...

       ploop <command> -- to get detailed syntax for a specific command`

const usageInit = `Usage: ploop init -s SIZE [-f FORMAT] [-v VERSION] [-t FSTYPE]
                 [-b BLOCKSIZE] [-B FSBLOCKSIZE] [-L LABEL] [-n|--nolazy] [-k KEY] DELTA | DEVICE

       SIZE        := NUMBER[KMGT]
       FORMAT      := { raw | ploop1 | expanded | preallocated }
       VERSION     := { 1 | 2 } (default 2, if supported)
       FSTYPE      := { none | ext3 | ext4 } (create filesystem, default ext4)
       BLOCKSIZE   := cluster block size, sectors
       FSBLOCKSIZE := file system block size, bytes
       LABEL       := label for the filesystem
       -n, --nolazy - do not use lazy initialization during mkfs
       KEY         := encryption keyid
       DELTA       := path to a new image file
       DEVICE      := path to a block device`

const usageMount = `Usage: ploop mount [-r] [-n] [-f FORMAT] [-b BLOCKSIZE] [-d DEVICE]
             [-m MOUNT_POINT] [-t FSTYPE] [-o MOUNT_OPTS] [--sparse]
             BASE_DELTA [ ... TOP_DELTA ]
       ploop mount [-r] [-m MOUNT_POINT] [-u UUID] DiskDescriptor.xml
       FORMAT := { raw | ploop1 }
       BLOCKSIZE := block size (for raw image format)
       DEVICE := ploop device, e.g. /dev/ploop0
       MOUNT_POINT := directory to mount in-image filesystem to
       FSTYPE := in-image filesystem type (ext4 by default)
       MOUNT_OPTS := additional mount options, comma-separated
       *DELTA := path to image file
       -r     - mount images read-only
       -F     - run fsck on inner filesystem before mounting it
       -n     - do not run partprobe during mount`

const usageUmount7 = `Usage: ploop umount -d DEVICE
       ploop umount -m DIR
       ploop umount DiskDescriptor.xml
       ploop umount DELTA
       DEVICE := ploop device, e.g. /dev/ploop0
       DIR := mount point
       DELTA := path to (mounted) image file`

const usageUmount9 = `Usage: ploop umount -d DEVICE
       ploop umount -m DIR
       ploop umount DiskDescriptor.xml
       DEVICE := ploop device, e.g. /dev/ploop0
       DIR := mount point
       DELTA := path to (mounted) image file`

const usageSnapshot = `Usage: ploop snapshot [-u UUID] DiskDescriptor.xml
       ploop snapshot [-F] -d DEVICE DELTA
       DEVICE := ploop device, e.g. /dev/ploop0
       DELTA := path to new image file
       -F     - synchronize file system before taking snapshot`

const usageTsnapshot = `Usage: ploop tsnapshot -u UUID -c COMPONENT
       [-m MOUNT_POINT] DiskDescriptor.xml`

const usageDelete = `Usage: ploop snapshot-delete -u UUID DiskDescriptor.xml
       UUID := snapshot id`

const usageMerge = `Usage: ploop snapshot-merge [-u <UUID> | -A] [-n DELTA] DiskDescriptor.xml
       -u <UUID>     snapshot uuid (top delta if not specified)
       -A            merge all deltas
       -n DELTA      new delta file to merge to`

const usageSnapshotList = `Usage: ploop snapshot-list [-H] [-o field[,field...]] [-s] [-u <UUID>] \
                           DiskDescriptor.xml`

const usageInfo = `Usage: ploop info [-s [-b]] [-d] DiskDescriptor.xml`

const usageList = `Usage: ploop list [-a]`

const usageStat = `Usage: ploop stat [-c | -l] -d DEVICE`

const usageCheck = `Usage: ploop check [-u UUID] DiskDescriptor.xml
	UUID := check all deltas up to top image with this UUID
       ploop check [options] DELTA
	DELTA := path to image file
	-f, --force          - force check even if dirty flag is clear
	-F, --hard-force     - -f and try to fix even fatal errors (dangerous)
	-c, --check          - check for duplicated blocks and holes
	-r, --ro             - do not modify DELTA (read-only access)
	-s, --silent         - be silent, report only errors
	-d, --drop-inuse     - drop image "in use" flag
	-R, --raw            - DELTA is a raw ploop image
	-b, --blocksize SIZE - cluster block size in sectors (for raw images)
	-S, --repair-sparse  - repair sparse image
	-D, --defrag         - cluster block defragmentation`

const usageRestore = `Usage: ploop restore-descriptor [-f FORMAT] [-b BLOCKSIZE] IMAGE_DIR BASE_DELTA
       FORMAT := { raw | ploop1 }
       BLOCKSIZE := block size in sectors (for raw image format)       *IMAGE_DIR := directory where to place DiskDescriptor.xml
       *BASE_DELTA := path to image file`
