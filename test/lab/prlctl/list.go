// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/container"
)

// column is a field of `list -o`.
type column struct {
	heading string
	width   int
	value   func(*container.Container) string
}

func constant(s string) func(*container.Container) string {
	return func(*container.Container) string { return s }
}

func setting(key string) func(*container.Container) string {
	return func(c *container.Container) string { return c.Conf.Get(key) }
}

func braced(id string) string { return "{" + strings.Trim(id, "{}") + "}" }

// columns are the fields by name. Those of networks and the like are there, and empty.
var columns = map[string]column{
	"uuid":          {"UUID", 39, func(c *container.Container) string { return braced(c.UUID) }},
	"id":            {"ID", 39, func(c *container.Container) string { return braced(c.UUID) }},
	"ctid":          {"CTID", 39, func(c *container.Container) string { return braced(c.UUID) }},
	"veid":          {"VEID", 39, func(c *container.Container) string { return braced(c.UUID) }},
	"envid":         {"ENVID", 10, (*container.Container).EnvID},
	"name":          {"NAME", 32, func(c *container.Container) string { return c.Name }},
	"status":        {"STATUS", 12, (*container.Container).Status},
	"type":          {"T", 2, constant("CT")},
	"home":          {"HOME", 32, (*container.Container).Private},
	"private":       {"PRIVATE", 32, (*container.Container).Private},
	"dist":          {"DIST", 15, setting("DISTRIBUTION")},
	"ostemplate":    {"OSTEMPLATE", 15, setting("OSTEMPLATE")},
	"hostname":      {"HOSTNAME", 32, setting("HOSTNAME")},
	"description":   {"DESCRIPTION", 32, setting("DESCRIPTION")},
	"features":      {"FEATURES", 15, setting("FEATURES")},
	"owner":         {"OWNER", 15, constant("root@.")},
	"ip":            {"IP_ADDR", 15, constant("")},
	"ip_configured": {"IP_ADDR", 15, constant("")},
	"netif":         {"NETIF", 15, constant("")},
	"mac":           {"MAC", 15, constant("")},
	"netdev":        {"NETDEV", 15, constant("")},
	"system-flags":  {"SYSTEM-FLAGS", 15, constant("")},
	"location":      {"LOCATION", 15, constant("")},
	"iolimit":       {"IOLIMIT", 10, constant("0")},
	"ha_enable":     {"HA_ENABLE", 10, constant("yes")},
	"ha_prio":       {"HA_PRIO", 10, constant("0")},
	"numproc":       {"NPROC", 6, constant("1")},
}

// listOptions are those of one call.
type listOptions struct {
	all, stopped, json, bare, info, templates bool
	fields                                    []string
	noCT                                      bool
	id                                        string
}

func (t *Tool) list(args []string) int {
	o := listOptions{fields: []string{"uuid", "status", "ip_configured", "type", "name"}}
	for i := 0; i < len(args); i++ {
		value := func() (string, bool) {
			i++
			if i >= len(args) {
				return "", false
			}
			return args[i], true
		}
		a, v, ok := args[i], "", true
		if k, x, has := strings.Cut(a, "="); has && strings.HasPrefix(a, "--") {
			a, v = k, x
		}
		switch a {
		case "-a", "--all":
			o.all = true
		case "-S", "--stopped":
			o.stopped = true
		case "-j", "--json":
			o.json = true
		case "-H", "--no-header":
			o.bare = true
		case "-i", "--info", "-f", "--full":
			o.info = o.info || a == "-i" || a == "--info"
		case "-t", "--template":
			o.templates = true
		case "-L":
			for name := range columns {
				t.say("%s", name)
			}
			return 0
		case "-o", "--output":
			if v == "" {
				v, ok = value()
			}
			o.fields = strings.Split(v, ",")
		case "--vmtype":
			if v == "" {
				v, ok = value()
			}
			switch v {
			case "ct", "c", "all", "a":
			case "vm", "v":
				o.noCT = true
			default:
				return t.fail(badUse, "Incorrect value for --vmtype: %s", v)
			}
		default:
			if strings.HasPrefix(a, "-") {
				return t.fail(badUse, "Unrecognized option: %s", a)
			}
			o.id = args[i]
		}
		if !ok {
			return t.fail(badUse, "Option %s needs a value", a)
		}
	}
	return t.show(o)
}

func (t *Tool) show(o listOptions) int {
	for _, f := range o.fields {
		if _, ok := columns[f]; !ok {
			return t.fail(badUse, "Unknown field: %s", f)
		}
	}
	var list []*container.Container
	if o.id != "" {
		c, err := container.Find(t.lab, o.id)
		if errors.Is(err, container.ErrUnknown) {
			return t.fail(refused, "Failed to get VM config: The virtual machine could not be found. "+
				"The virtual machine is not registered in the virtual machine directory on your server. "+
				"Contact your Virtuozzo administrator for assistance.")
		}
		if err != nil {
			return t.fail(refused, "lab: %v", err)
		}
		list = append(list, c)
	} else {
		all, err := container.All(t.lab)
		if err != nil {
			return t.fail(refused, "lab: %v", err)
		}
		for _, c := range all {
			running := c.Status() == "running"
			if o.all || o.stopped && !running || !o.stopped && running {
				list = append(list, c)
			}
		}
	}
	if o.noCT || o.templates {
		list = nil
	}
	switch {
	case o.info:
		return t.info(list, o.json)
	case o.json:
		t.printJSON(list, o.fields)
	default:
		t.printTable(list, o)
	}
	return 0
}

func (t *Tool) printTable(list []*container.Container, o listOptions) {
	row := func(cell func(column) string) {
		var b strings.Builder
		for i, f := range o.fields {
			s := cell(columns[f])
			if s == "" {
				s = "-"
			}
			if i == len(o.fields)-1 {
				b.WriteString(s)
			} else {
				fmt.Fprintf(&b, "%-*s ", columns[f].width, s)
			}
		}
		t.say("%s", b.String())
	}
	if !o.bare {
		row(func(c column) string { return c.heading })
	}
	for _, c := range list {
		row(func(k column) string { return k.value(c) })
	}
}

// escapeJSON escapes as the real tool does: these only, the rest raw.
var escapeJSON = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\b", `\b`, "\f", `\f`, "\r", `\r`)

func (t *Tool) printJSON(list []*container.Container, fields []string) {
	var items []string
	for _, c := range list {
		var kv []string
		for _, f := range fields {
			v := columns[f].value(c)
			if f == "uuid" {
				v = strings.Trim(v, "{}")
			}
			if v == "" {
				v = "-"
			}
			kv = append(kv, fmt.Sprintf("\t\t\"%s\": \"%s\"", f, escapeJSON.Replace(v)))
		}
		items = append(items, "\t{\n"+strings.Join(kv, ",\n")+"\n\t}")
	}
	t.say("[\n%s\n]", strings.Join(items, ",\n"))
}

// info prints everything about containers: `list -i`.
func (t *Tool) info(list []*container.Container, asJSON bool) int {
	var items []string
	for _, c := range list {
		pairs := [][2]string{
			{"ID", strings.Trim(c.UUID, "{}")},
			{"EnvID", c.EnvID()},
			{"Name", c.Name},
			{"Description", c.Conf.Get("DESCRIPTION")},
			{"Type", "CT"},
			{"State", c.Status()},
			{"OS", c.Conf.Get("DISTRIBUTION")},
			{"Template", "no"},
			{"Uptime", "00:00:00"},
			{"Home", c.Private()},
			{"Backup path", ""},
			{"Owner", "root@."},
			{"GuestTools", "unknown"},
			{"Autostart", "off"},
			{"Autostop", "stop"},
			{"Autocompact", "on"},
			{"Boot order", ""},
			{"EFI boot", "off"},
		}
		var b strings.Builder
		if !asJSON {
			for _, p := range pairs {
				fmt.Fprintf(&b, "%s: %s\n", p[0], p[1])
			}
			b.WriteString("Hardware:\n")
			for i, d := range c.Disks() {
				fmt.Fprintf(&b, "  hdd%d (%s) scsi:%d image='%s' type='expanded' %dMb mnt=%s\n", i, onOff(d.Enabled, "+", "-"), i, d.Image, d.SizeKiB>>10, d.Mount)
			}
			items = append(items, b.String())
			continue
		}
		for _, p := range pairs {
			fmt.Fprintf(&b, "\t\t\"%s\": \"%s\",\n", p[0], escapeJSON.Replace(p[1]))
		}
		b.WriteString("\t\t\"Hardware\": {\n\t\t\t\"cpu\": {\n\t\t\t\t\"cpus\": 1\n\t\t\t},\n\t\t\t\"memory\": {\n\t\t\t\t\"size\": \"1024Mb\"\n\t\t\t}")
		for i, d := range c.Disks() {
			fmt.Fprintf(&b, ",\n\t\t\t\"hdd%d\": {\n\t\t\t\t\"enabled\": %s,\n\t\t\t\t\"port\": \"scsi:%d\",\n\t\t\t\t\"image\": \"%s\",\n"+
				"\t\t\t\t\"type\": \"expanded\",\n\t\t\t\t\"size\": \"%dMb\",\n\t\t\t\t\"mnt\": \"%s\"\n\t\t\t}",
				i, onOff(d.Enabled, "true", "false"), i, escapeJSON.Replace(d.Image), d.SizeKiB>>10, escapeJSON.Replace(d.Mount))
		}
		b.WriteString("\n\t\t}")
		items = append(items, "\t{\n"+b.String()+"\n\t}")
	}
	if asJSON {
		t.say("[\n%s\n]", strings.Join(items, ",\n"))
	} else {
		t.say("%s", strings.Join(items, "\n"))
	}
	return 0
}

func onOff(v bool, on, off string) string {
	if v {
		return on
	}
	return off
}
