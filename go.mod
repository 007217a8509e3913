module github.com/bareos-contrib/vz7ct

go 1.24.0
