// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import "strings"

// change is something that happens between two jobs, in a directory of its own. Names
// are relative to that directory, "." is it itself; a directory's name ends in a slash,
// odd bytes are written as %41; a name with a slash in front is meant from the
// container's root, one with "@" from the private area of the node.
type change struct {
	name string
	// base and do are commands of sh, run in the directory: before the full backup, and
	// between it and the first incremental one. $TOP is the container's root, $DATA the
	// directory of the same name on the other disk, $PRIVATE the private area.
	base, do string
	// saved is what the daemon's rule saves then. moved has not changed, but its directory's
	// name has, or that of another name's directory: with Accurate the daemon sees new
	// names, without it the plugin remembers where directories were. gone is what is
	// recorded as deleted with Accurate.
	saved, moved, gone string
	// always is what a job without Accurate saves again and again.
	always string
	// then is what happens before the differential backup, last what happens after it.
	then, last step
	// moment is when do happens, if not between the full and the first incremental backup.
	moment int
	// data is set if the directory is on the second disk.
	data bool
	// clash: without Accurate a restore meets two names, old and new, of which only one
	// can be there. It is the new one, and nothing stays below the old one.
	clash bool
}

// step is a later part of a change. back is below a directory that has its old name again:
// it is saved like moved, but not by a differential backup with Accurate, which finds it as it
// was. Without Accurate it is all the same whereto a directory was moved.
type step struct{ do, saved, moved, gone, back string }

var (
	long = strings.Repeat("n", 255)
	deep = strings.Repeat(strings.Repeat("d", 200)+"/", 12)
)

// fileChanges are those of single files and directories.
var fileChanges = []change{
	// What was not there.
	{name: "create file", do: "echo new >f", saved: ". f"},
	{name: "create empty file", do: ": >f", saved: ". f"},
	{name: "create sparse file", do: "truncate -s 64M f; echo end >>f", saved: ". f"},
	{name: "create file with old times", do: "echo old >f; touch -d 2001-02-03 f", saved: ". f"},
	{name: "create file and hide the time of it", do: "echo x >f; touch -d 2010-01-01 .", saved: ". f"},
	{name: "create directory", do: "mkdir d", saved: ". d/"},
	{name: "create directory with content", base: ": >a", do: "mkdir -p d/e; echo x >d/e/f", saved: ". d/ d/e/ d/e/f"},
	{name: "create symbolic link", do: "ln -s nowhere l", saved: ". l"},
	{name: "create fifo", do: "mkfifo p", saved: ". p"},
	{name: "create devices", do: "mknod c c 1 3; mknod b b 7 9", saved: ". c b"},
	{name: "create name that is no UTF-8", do: `echo x >"$(printf 'K\334BLER')"`, saved: ". K%DCBLER"},
	{name: "create name with blanks and line ends", do: "echo x >' two  words\nand a line '", saved: ". %20two%20%20words%0Aand%20a%20line%20"},
	{name: "create name with quotes and escapes", do: `echo x >"it's \"a\" \\b %41"`, saved: ". it's%20%22a%22%20%5Cb%20%2541"},
	{name: "create name of 255 bytes", do: ": >" + long, saved: ". " + long},
	{name: "create below a very long path", base: "mkdir -p " + deep, do: "echo x >" + deep + "f", saved: deep + " " + deep + "f"},

	// What has other content.
	{name: "modify with the same size", base: "echo a >f", do: "echo b >f", saved: "f"},
	{name: "modify one byte in place", base: "echo abc >f", do: "printf B | dd of=f bs=1 seek=1 conv=notrunc status=none", saved: "f"},
	{name: "modify and set the time back", base: "echo a >f", do: "echo b >f; touch -d '2010-01-01 00:00:00.5' f", saved: "f"},
	{name: "append", base: "echo a >f", do: "echo b >>f", saved: "f"},
	{name: "truncate to nothing", base: "echo a >f", do: ": >f", saved: "f"},
	{name: "truncate by a byte", base: "echo a >f", do: "truncate -s 1 f", saved: "f"},
	{name: "grow with a hole", base: "echo a >f", do: "truncate -s 3M f; echo b >>f", saved: "f"},
	{name: "punch a hole", base: "yes | head -c 65536 >f", do: "fallocate -p -o 8192 -l 16384 f", saved: "f"},
	{name: "save as an editor does", base: "echo a >f", do: "echo b >f.new; mv f.new f", saved: ". f"},
	{name: "delete and make anew", base: "echo a >f", do: "rm f; echo b >f", saved: ". f"},

	// What has other attributes.
	{name: "touch", base: ": >f", do: "touch f", saved: "f"},
	{name: "touch to an old time", base: ": >f", do: "touch -d 1999-01-01 f", saved: "f"},
	{name: "touch to the time that it has", base: ": >f", do: "touch -r f f", saved: "f"},
	{name: "touch to the future", base: ": >f", do: "touch -d 2033-01-01 f", saved: "f", always: "f"},
	{name: "touch symbolic link", base: "ln -s x l", do: "touch -h -d 2001-01-01 l", saved: "l"},
	{name: "chmod", base: ": >f", do: "chmod 600 f", saved: "f"},
	{name: "chmod fifo", base: "mkfifo p", do: "chmod 600 p", saved: "p"},
	{name: "chmod directory", base: "mkdir d; : >d/f", do: "chmod 700 d", saved: "d/"},
	{name: "chown", base: ": >f", do: "chown 1234 f", saved: "f"},
	{name: "chown symbolic link", base: "ln -s x l", do: "chown -h 1234 l", saved: "l"},
	{name: "chgrp", base: ": >f", do: "chgrp 1234 f", saved: "f"},
	{name: "setuid", base: ": >f", do: "chmod u+s f", saved: "f"},
	{name: "sticky directory", base: "mkdir d", do: "chmod +t d", saved: "d/"},
	{name: "time of directory", base: "mkdir d; : >d/f", do: "touch -d 2005-05-05 d", saved: "d/"},
	{name: "setfacl on file", base: ": >f", do: "setfacl -m u:1234:rw f", saved: "f"},
	{name: "setfacl of default on directory", base: "mkdir d", do: "setfacl -d -m g:1234:rx d", saved: "d/"},
	{name: "setfacl to none", base: ": >f; setfacl -m u:1234:rw f", do: "setfacl -b f", saved: "f"},
	{name: "setfattr", base: ": >f", do: "setfattr -n user.a -v b f", saved: "f"},
	{name: "setfattr to another value", base: ": >f; setfattr -n user.a -v b f", do: "setfattr -n user.a -v c f", saved: "f"},
	{name: "setfattr to none", base: ": >f; setfattr -n user.a -v b f", do: "setfattr -x user.a f", saved: "f"},
	{name: "setfattr on directory", base: "mkdir d; : >d/f", do: "setfattr -n trusted.a -v b d", saved: "d/"},
	{name: "setcap", base: ": >f", do: "setcap cap_net_raw+ep f", saved: "f"},
	// For project ids ext4 wants a kernel with CONFIG_QFMT_V2 and a disk made for them.
	{name: "chattr +i", base: ": >f", do: "chattr +i f", saved: "f"},
	{name: "chattr +a", base: ": >f", do: "chattr +a f", saved: "f"},
	{name: "chattr +d on directory", base: "mkdir d; : >d/f", do: "chattr +d d", saved: "d/"},

	// What has another name.
	{name: "rename file", base: "echo a >a", do: "mv a b", saved: ". b", gone: "a"},
	{name: "rename file over another", base: "echo a >a; echo bb >b", do: "mv a b", saved: ". b", gone: "a"},
	{name: "rename in a circle", base: "echo a >a; echo bb >b", do: "mv a t; mv b a; mv t b", saved: ". a b"},
	{name: "rename symbolic link", base: "ln -s x l", do: "mv l m", saved: ". m", gone: "l"},
	{name: "rename to another case", base: "echo a >a", do: "mv a A", saved: ". A", gone: "a"},
	{name: "rename empty directory", base: "mkdir d", do: "mv d e", saved: ". e/", gone: "d/"},
	{name: "rename directory with content", base: "mkdir -p d/s; : >d/f; : >d/s/g", do: "mv d e", saved: ". e/", moved: "e/f e/s/ e/s/g", gone: "d/ d/f d/s/ d/s/g"},
	{name: "rename directories in a circle", base: "mkdir d e; echo d >d/f; echo ee >e/f", do: "mv d t; mv e d; mv t e", saved: ". d/ e/", moved: "d/f e/f"},
	{name: "move file between directories", base: "mkdir d e; echo x >d/f", do: "mv d/f e/g", saved: "d/ e/ e/g", gone: "d/f"},
	{name: "move old file into a directory", base: "mkdir d; echo x >f", do: "mv f d/f", saved: ". d/ d/f", gone: "f"},
	{name: "move directory between directories", base: "mkdir -p d/s e; : >d/s/f", do: "mv d/s e/s", saved: "d/ e/ e/s/", moved: "e/s/f", gone: "d/s/ d/s/f"},
	{name: "move old directory from outside", base: "mkdir -p $TOP/levels/outside/d; echo x >$TOP/levels/outside/d/f", do: "mv $TOP/levels/outside/d .", saved: ". d/ /levels/outside/", moved: "d/f", gone: "/levels/outside/d/ /levels/outside/d/f"},
	{name: "move file to the other disk", base: "echo x >f; mkdir -p $DATA", do: "mv f $DATA/g", saved: ". /data/levels/move-file-to-the-other-disk/ /data/levels/move-file-to-the-other-disk/g", gone: "f"},

	// What is not there any more.
	{name: "delete file", base: ": >f", do: "rm f", saved: ".", gone: "f"},
	{name: "delete file of an odd name", base: `echo x >"$(printf 'K\334B\nLER')"`, do: "rm K*", saved: ".", gone: "K%DCB%0ALER"},
	{name: "delete empty directory", base: "mkdir d", do: "rmdir d", saved: ".", gone: "d/"},
	{name: "delete tree", base: "mkdir -p d/e/g; : >d/f; : >d/e/f", do: "rm -r d", saved: ".", gone: "d/ d/f d/e/ d/e/f d/e/g/"},
	{name: "delete symbolic link", base: "ln -s x l", do: "rm l", saved: ".", gone: "l"},
	{name: "delete fifo and device", base: "mkfifo p; mknod c c 1 3", do: "rm p c", saved: ".", gone: "p c"},
	{name: "empty a directory by making it anew", base: "mkdir d; : >d/f", do: "rm -r d; mkdir d", saved: ". d/", gone: "d/f"},

	// What has become something else.
	{name: "file to directory", base: "echo x >x", do: "rm x; mkdir x; echo y >x/y", saved: ". x/ x/y", gone: "x", clash: true},
	{name: "directory to file", base: "mkdir x; : >x/y", do: "rm -r x; echo x >x", saved: ". x", gone: "x/ x/y", clash: true},
	{name: "file to symbolic link", base: "echo x >x", do: "rm x; ln -s y x", saved: ". x"},
	{name: "symbolic link to file", base: "ln -s y x", do: "rm x; echo x >x", saved: ". x"},
	{name: "symbolic link to another target", base: "ln -s a l", do: "ln -sfn b l", saved: ". l"},
	{name: "directory to symbolic link", base: "mkdir x; : >x/y", do: "rm -r x; ln -s y x", saved: ". x", gone: "x/ x/y", clash: true},
	{name: "symbolic link to directory", base: "ln -s y x", do: "rm x; mkdir x", saved: ". x/", gone: "x", clash: true},
	{name: "file to fifo", base: "echo x >x", do: "rm x; mkfifo x", saved: ". x"},
	{name: "fifo to device", base: "mkfifo x", do: "rm x; mknod x c 1 3", saved: ". x"},
	{name: "device to another number", base: "mknod x c 1 3", do: "rm x; mknod x c 1 5", saved: ". x"},
	{name: "character device to block device", base: "mknod x c 7 1", do: "rm x; mknod x b 7 1", saved: ". x"},
}
