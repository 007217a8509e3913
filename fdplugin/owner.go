// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// errElsewhere: another node has, or may have, the container. A merge here would
// write to images that a container writes to there.
var errElsewhere = errors.New("its snapshot must not be merged here")

// readOwner remembers whose the container is before its snapshot is made.
func (b *backup) readOwner() (err error) {
	if _, b.owner, err = b.job.Node.Containers.Owns(b.place.Private); err != nil {
		return fmt.Errorf("whose is container %s? %w", b.container.UUID, err)
	}
	return nil
}

// lost returns an error that wraps errElsewhere if the container of a snapshot has
// left this node while its job ran: it was migrated in spite of the lock, or failed
// over on shared storage. The file .owner decides, which named before; prlctl, which
// may be down for a moment, is asked only where there is none. Another node's name
// that was there already says nothing: on local storage vzctl does not look at it
// (vzctl_check_owner_quiet of libvzctl vz7-u22).
func (c Cleaner) lost(ctx context.Context, s undo.Step, before string) error {
	private := filepath.Dir(filepath.Dir(s.Descriptor))
	if !exists(private) {
		return nil // destroyed: nothing can be done wrong
	}
	switch ours, owner, err := c.Node.Containers.Owns(private); {
	case err != nil:
		return fmt.Errorf("whose is container %s? %w", s.Container, err)
	case !ours && owner != before:
		return fmt.Errorf("container %s belongs to node %q by its file .owner: %w", s.Container, owner, errElsewhere)
	case owner != "":
		return nil
	}
	known, err := c.registered(ctx, s.Container)
	if err == nil && !known {
		err = fmt.Errorf("container %s is not registered on this node any more: %w", s.Container, errElsewhere)
	}
	return err
}

// advice names the commands that take steps back, for the job log, and where.
func advice(why error, steps []undo.Step) string {
	if errors.Is(why, errElsewhere) {
		return "by hand, on the node that has the container and on no other: " + byHand(steps)
	}
	return "by hand: " + byHand(steps)
}
