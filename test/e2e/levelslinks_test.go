// SPDX-License-Identifier: AGPL-3.0-only

package e2e

// linkChanges are those of files with several names: all names are saved together.
var linkChanges = []change{
	{name: "hard link added", base: "echo x >a", do: "ln a b", saved: ". a b"},
	{name: "hard link added in another directory", base: "mkdir d e; echo x >d/a", do: "ln d/a e/b", saved: "e/ d/a e/b"},
	{name: "hard link added to symbolic link", base: "ln -s x a", do: "ln a b", saved: ". a b"},
	{name: "hard link added to fifo", base: "mkfifo a", do: "ln a b", saved: ". a b"},
	{name: "hard link removed", base: "echo x >a; ln a b", do: "rm b", saved: ". a", gone: "b"},
	{name: "first of three names removed", base: "echo x >a; ln a b; ln a c", do: "rm a", saved: ". b c", gone: "a"},
	{name: "all names removed", base: "echo x >a; ln a b", do: "rm a b", saved: ".", gone: "a b"},
	{name: "hard link added and removed", base: "echo x >a; ln a b", do: "ln a c; rm c", saved: ". a b"},
	{name: "modified through another name", base: "mkdir d; echo x >a; ln a d/b", do: "echo y >>d/b", saved: "a d/b"},
	{name: "chmod of one of two names", base: "echo x >a; ln a b", do: "chmod 600 b", saved: "a b"},
	{name: "one name renamed", base: "echo x >a; ln a b", do: "mv b c", saved: ". a c", gone: "b"},
	{name: "one name renamed over", base: "echo x >a; ln a b; echo yy >c", do: "mv c b", saved: ". a b", gone: "c"},
	{name: "one name replaced by a copy", base: "echo x >a; ln a b", do: "cp -p b t; mv t b", saved: ". a b"},
	{name: "two files change a name", base: "echo x >a; ln a b; echo yy >c; ln c d", do: "ln -f a d", saved: ". a b c d"},
	{name: "names in a renamed directory", base: "mkdir d; echo x >d/a; ln d/a d/b", do: "mv d e", saved: ". e/", moved: "e/a e/b", gone: "d/ d/a d/b"},
	{name: "one name in a renamed directory", base: "mkdir d; echo x >d/a; ln d/a k", do: "mv d e", saved: ". e/", moved: "e/a k", gone: "d/ d/a"},
}

// otherChanges are those of the second disk, of roots, of the node, and of nothing.
var otherChanges = []change{
	{name: "create on the second disk", data: true, do: "echo x >f", saved: ". f"},
	{name: "modify on the second disk", data: true, base: "echo a >f", do: "echo b >f", saved: "f"},
	{name: "setfattr on the second disk", data: true, base: ": >f", do: "setfattr -n user.a -v b f", saved: "f"},
	{name: "rename directory on the second disk", data: true, base: "mkdir d; : >d/f", do: "mv d e", saved: ". e/", moved: "e/f", gone: "d/ d/f"},
	{name: "delete on the second disk", data: true, base: "mkdir d; : >d/f; : >f", do: "rm -r d f", saved: ".", gone: "d/ d/f f"},
	{name: "hard link on the second disk", data: true, base: "echo x >a", do: "ln a b", saved: ". a b"},
	{name: "root of the second disk", data: true, do: "setfattr -n user.a -v b $TOP/data", saved: "/data/"},
	{name: "root of the container", do: "setfattr -n user.a -v b $TOP", saved: "/"},
	{name: "create in the private area", do: "echo x >$PRIVATE/note", saved: "@note"},
	{name: "delete in the private area", base: "echo x >$PRIVATE/old-note", do: "rm $PRIVATE/old-note", gone: "@old-note"},

	{name: "nothing", base: "for n in $(seq 100); do echo $n >f$n; done; mkdir d; ln -s x l; mkfifo p; mknod c c 1 3; echo x >a; ln a b; ln a d/c; setfattr -n user.a -v b a"},
	{name: "nothing on the second disk", data: true, base: "for n in $(seq 20); do echo $n >f$n; done; echo x >a; ln a b"},
	{name: "read", base: "mkdir d; echo x >f; ln -s f l", do: "cat f l >/dev/null; ls d >/dev/null"},
	{name: "a time in the future", base: ": >f; touch -d 2033-01-01 f", always: "f /srv/nasty/times/after-2038"},

	// Several things one after another.
	{name: "create then delete", do: ": >f", saved: ". f", then: step{do: "rm f", saved: ".", gone: "f"}},
	{name: "create then modify", do: ": >f", saved: ". f", then: step{do: "echo x >f", saved: "f"}, last: step{do: "echo y >f", saved: "f"}},
	{name: "delete then create", base: "echo x >f", do: "rm f", saved: ".", gone: "f", then: step{do: "echo y >f", saved: ". f"}},
	{name: "rename then back", base: "echo x >a", do: "mv a b", saved: ". b", gone: "a", then: step{do: "mv b a", saved: ". a", gone: "b"}},
	{name: "rename directory then back", base: "mkdir d; : >d/f", do: "mv d e", saved: ". e/", moved: "e/f", gone: "d/ d/f", then: step{do: "mv e d", saved: ". d/", gone: "e/ e/f", back: "d/f"}},
	{name: "modify late", base: "echo x >f", then: step{do: "echo y >f", saved: "f"}},
	{name: "delete late", base: "mkdir d; : >d/f", then: step{do: "rm -r d", saved: ".", gone: "d/ d/f"}},
	{name: "delete later", base: "mkdir d; : >d/f", do: ": >d/g", saved: "d/ d/g", last: step{do: "rm -r d", saved: ".", gone: "d/ d/f d/g"}},
	{name: "hard links late", base: "echo x >a; ln a b", then: step{do: "ln a c", saved: ". a b c"}, last: step{do: "rm a", saved: ". b c", gone: "a"}},
	{name: "rename directory later", base: "mkdir d; : >d/f", do: ": >d/g", saved: "d/ d/g", last: step{do: "mv d e", saved: ". e/", moved: "e/f e/g", gone: "d/ d/f d/g"}},
	{name: "replace step by step", base: "echo x >x", do: "rm x; ln -s y x", saved: ". x", then: step{do: "rm x; mkfifo x", saved: ". x"}, last: step{do: "rm x; echo z >x", saved: ". x"}},
	{name: "file to directory later", base: "echo x >x", last: step{do: "rm x; mkdir x; : >x/y", saved: ". x/ x/y", gone: "x"}, clash: true},
}
