// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Set changes settings given as KEY=VALUE; the keys are those of config.json.
func (l Lab) Set(pairs []string) error {
	c, err := l.Config()
	if err != nil {
		return err
	}
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("%q is not KEY=VALUE", p)
		}
		if _, err := strconv.Atoi(v); err != nil {
			b, err := json.Marshal(v)
			if err != nil {
				return err
			}
			v = string(b)
		}
		d := json.NewDecoder(strings.NewReader(fmt.Sprintf("{%q: %s}", k, v)))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return l.SetConfig(c)
}
