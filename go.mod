module github.com/bareos-contrib/vz7ct

go 1.26.0

require (
	github.com/gobwas/glob v1.1.0
	github.com/hanwen/go-fuse/v2 v2.12.1
	github.com/sirupsen/logrus v1.10.2
	golang.org/x/sys v0.49.0
	golang.org/x/text v0.43.0
)
