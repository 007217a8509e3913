// SPDX-License-Identifier: AGPL-3.0-only

package veconf

import (
	"regexp"
	"strings"
)

// card says what a field of NETIF may be (parse_netif_str in lib/veth.c).
var card = map[string]*regexp.Regexp{
	"ifname": regexp.MustCompile(`^[A-Za-z0-9_.-]{1,15}$`), "host_ifname": regexp.MustCompile(`^(veth|vme)[A-Za-z0-9_.-]{1,11}$`),
	"mac": hardware, "host_mac": hardware, "network": regexp.MustCompile(`^([A-Za-z0-9#() _.-]|[^\x00-\x7f]){0,64}$`),
	"gw": plainAddresses, "gw6": plainAddresses, "ip": plainAddresses, "ip6": plainAddresses,
	"dhcp": yes, "dhcp6": yes, "configure": regexp.MustCompile(`^(none|all)?$`), "type": regexp.MustCompile(`^(bridge|routed)?$`),
	"vport": regexp.MustCompile(`^(bridge|ovs)?$`), "ifaceid": token, "mac_filter": on, "ip_filter": on,
}

var (
	hardware = regexp.MustCompile(`^([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5})?$`)
	yes      = regexp.MustCompile(`^(yes|no)?$`)
	// Without the filters a container sends by other machines' addresses.
	on = regexp.MustCompile(`^(on)?$`)
)

// cards judges the NETIF setting. A copy gets hardware addresses of its own, and names
// on the node that libvzctl makes of them; IP addresses go where they are not asked for.
func (j *judge) cards(s Setting) (Setting, bool) {
	var kept []string
	for entry := range strings.SplitSeq(s.Value, ";") {
		if strings.Trim(entry, " \t") == "" {
			continue
		}
		if e := j.card(strings.Trim(entry, " \t")); e != "" {
			kept = append(kept, e)
		}
	}
	if v := strings.Join(kept, ";"); v != s.Value {
		s.Value = v
	}
	return s, true
}

func (j *judge) card(entry string) string {
	var now []field
	named, six := false, false
	trust := j.Trust || j.present.hasPart("NETIF", entry, ";")
	for _, f := range fields(entry) {
		if six && f.key != "" && f.value == "" && plainAddresses.MatchString(f.key) {
			// The addresses of ip6, which stands last, have commas between them.
			if j.Addresses {
				now[len(now)-1].value += "," + f.key
			}
			continue
		}
		six = false
		switch f.key {
		case "":
			if f.value == "" {
				now = append(now, f)
				continue
			}
		case "ip", "ip6", "gw", "gw6":
			if !j.Addresses {
				if f.value != "" {
					j.warnf("NETIF: %s is left out: restore_addresses=yes takes it over", shorten(f.key+"="+f.value))
				}
				six = f.key == "ip6"
				continue
			}
		case "mac", "host_mac", "host_ifname", "ifaceid":
			if j.Copy {
				continue
			}
		case "ifname":
			named = true
		}
		if allowed := card[f.key]; !trust && (allowed == nil || !allowed.MatchString(f.value)) {
			j.warnf("NETIF: %s is left out: no such value is known to be harmless", shorten(f.key+"="+f.value))
			named = named && f.key != "ifname"
			continue
		}
		now = append(now, f)
		six = f.key == "ip6"
		if f.key == "ifname" && j.Copy {
			mac := j.MAC()
			now = append(now, field{"mac", mac}, field{"host_mac", "FE" + mac[2:]})
		}
	}
	if !named {
		j.warnf("NETIF: %s is left out: it names no network card", shorten(entry))
		return ""
	}
	return joined(now)
}
