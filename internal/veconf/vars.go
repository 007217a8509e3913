// SPDX-License-Identifier: AGPL-3.0-only

package veconf

import "regexp"

// kind says how the value of a setting is judged.
type kind int

const (
	// figure: limits, shares, modes, lists of tokens. It holds no path.
	figure kind = iota + 1
	// words: what people or the container read.
	words
	// addresses are not taken over by a copy.
	addresses
	// features can be switched off by a configuration that is not trusted, not on.
	features
	// network cards and disks have a grammar of their own.
	cards
	disks
	// ours: what the restore itself decides.
	ours
	// reaches: the value gives the container something of the node.
	reaches
)

// known are the settings that libvzctl reads of a container's configuration
// (config_param_map in lib/env_config.c, vz7-u22), the ones that older releases and
// the dispatcher leave there, and how each is judged. A name that is not among them
// is left out: nobody here knows what a tool of the node would do by it.
var known = map[string]kind{
	"VEID": ours, "UUID": ours, "NAME": ours, "VE_PRIVATE": ours, "VE_ROOT": ours,
	"DISK": disks, "NETIF": cards, "IP_ADDRESS": addresses, "EXT_IP_ADDRESS": addresses, "FEATURES": features,

	"DESCRIPTION": words, "VE_ENVIRONMENT": words,

	"HOSTNAME": figure, "SEARCHDOMAIN": figure, "NAMESERVER": figure,
	"OSTEMPLATE": figure, "TEMPLATES": figure, "DISTRIBUTION": figure, "TECHNOLOGIES": figure, "OSRELEASE": figure, "ORIGIN_SAMPLE": figure,
	"ONBOOT": figure, "BOOTORDER": figure, "AUTOSTOP": figure, "AUTOSTOPSTOP": figure, "DISABLED": figure, "VETYPE": figure, "VE_TYPE": figure,
	"VEFORMAT": figure, "VEFSTYPE": figure, "CONFIG_CUSTOMIZED": figure, "AUTOCOMPACT": figure, "NOATIME": figure,
	"HA_ENABLE": figure, "HA_PRIO": figure, "APPLY_IPONLY": figure, "USE_NET_RPS": figure, "USE_VENET_MASK": figure,
	"NETFILTER": figure, "IPTABLES": figure, "NUMNETIF": figure,
	"TRAFFIC_SHAPING": figure, "TOTALRATE": figure, "RATE": figure, "RATEBOUND": figure,
	"CPULIMIT": figure, "CPULIMIT_MHZ": figure, "CPUWEIGHT": figure, "CPUUNITS": figure, "CPUS": figure, "CPUMASK": figure, "NODEMASK": figure,
	"BURST_CPU_AVG_USAGE": figure, "BURST_CPULIMIT": figure, "IOPRIO": figure, "IOLIMIT": figure, "IOPSLIMIT": figure,
	"DISK_QUOTA": figure, "DISKSPACE": figure, "DISKINODES": figure, "QUOTAUGIDLIMIT": figure, "JOURNALED_QUOTA": figure, "QUOTATIME": figure,
	"MEMINFO": figure, "SLMMEMORYLIMIT": figure, "SLMMODE": figure, "MEMGUARANTEE": figure, "MEMGUARANTEE_BYTES": figure,
	"PAGECACHE_ISOLATION": figure, "NUMMEMORYSUBGROUPS": figure, "VM_OVERCOMMIT": figure,
	"LOCKEDPAGES": figure, "PRIVVMPAGES": figure, "SHMPAGES": figure, "NUMPROC": figure, "PHYSPAGES": figure, "VMGUARPAGES": figure,
	"NUMTCPSOCK": figure, "NUMFLOCK": figure, "NUMPTY": figure, "NUMSIGINFO": figure, "TCPSNDBUF": figure, "TCPSENDBUF": figure,
	"TCPRCVBUF": figure, "OTHERSOCKBUF": figure, "DGRAMRCVBUF": figure, "NUMOTHERSOCK": figure, "NUMFILE": figure, "NUMIPTENT": figure,
	"IPTENTRIES": figure, "AVNUMPROC": figure, "SWAPPAGES": figure, "KMEMSIZE": figure, "DCACHESIZE": figure, "TOTVMPAGES": figure,
	"IPCSHMPAGES": figure, "ANONSHPAGES": figure, "RSSPAGES": figure, "OOMGUAR": figure, "OOMGUARPAGES": figure, "NUMSOCK": figure,
	"UNIXSOCKBUF": figure, "SOCKRCVBUF": figure, "NUMUNIXSOCK": figure,

	"DEVICES": reaches, "DEVNODES": reaches, "NETDEV": reaches, "PCI": reaches, "CAPABILITY": reaches, "BINDMOUNT": reaches,
	"TEMPLATE": reaches, "ROOT_DISK": reaches, "LOCKDIR": reaches, "DUMPDIR": reaches,
}

// gives says what a setting of the kind reaches gives a container.
var gives = map[string]string{
	"DEVICES": "devices of this node", "DEVNODES": "devices of this node", "PCI": "PCI devices of this node", "NETDEV": "network cards of this node",
	"CAPABILITY": "capabilities on this node", "BINDMOUNT": "directories of this node",
}

// plainFigure has no slash, and so no path: DISTRIBUTION becomes the name of a file
// of commands (get_dist_conf_name in lib/dist.c), others may. No word begins with a
// dash: OSTEMPLATE is an argument of vzpkg. "10:1,20:2", "eth0:*:8000", "50%" are such.
var plainFigure = regexp.MustCompile(`^ *([A-Za-z0-9_.:,%+*][A-Za-z0-9_.:,%+*-]*( +|$))*$`)

// plainAddresses are IP addresses with masks.
var plainAddresses = regexp.MustCompile(`^[0-9A-Fa-f.:/ ]*$`)
