// SPDX-License-Identifier: AGPL-3.0-only

// Package prlctl finds, describes, registers and starts containers through the
// prlctl tool of Virtuozzo 7, and reads what the tool does not tell from the
// configuration files: vz.conf and a container's ve.conf.
//
// It knows nothing of disks beyond the list in ve.conf, and never edits a
// configuration. What prlctl prints and is not understood is an error.
package prlctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/run"
	"github.com/bareos-contrib/vz7ct/internal/text"
)

// Container is what a node knows of one container.
type Container struct {
	// UUID is in lower case, without braces. Name may be empty.
	UUID, Name string
	// CTID is a number for containers that came from older releases, else the UUID.
	CTID string
	// State is prlctl's word: running, stopped, suspended, mounted, ...
	State string
}

// Is reports whether id, a UUID or the number of an older container, means c.
func (c Container) Is(id string) bool { return id != "" && (id == c.UUID || id == c.CTID) }

// Title is what a container is called in messages: its name, or the UUID of one
// that has none.
func (c Container) Title() string {
	if c.Name == "" {
		return c.UUID
	}
	return text.Name(c.Name)
}

// Place is where a container lives on its node.
type Place struct {
	// CTID is the name of its configuration: mostly the UUID, a number for
	// containers that came from older releases.
	CTID string
	// Private is the private area, Root the mount point of the root disk.
	Private, Root string
	// Lock is the file by which Virtuozzo's tools lock the container, "" if
	// vz.conf has no usable LOCKDIR.
	Lock string
	// Config is what the container's ve.conf says.
	Config Config
	// Run is where the pid of its init is recorded; "" is the node's directory.
	Run string
}

// ErrNotFound means that the node has no such container.
var ErrNotFound = errors.New("no such container on this node")

// Runner starts commands; run.Runner is one.
type Runner interface {
	Run(context.Context, run.Command) (run.Result, error)
}

// Client calls the prlctl tool.
type Client struct {
	Runner Runner
	// Path of the tool; "" looks in the places where packages put it.
	Path string
	// Conf is the node's configuration; "" is /etc/vz/vz.conf.
	Conf string
}

func (c Client) run(ctx context.Context, changes bool, args ...string) (string, error) {
	path := c.Path
	if path == "" {
		var err error
		if path, err = run.Find("/usr/bin/prlctl", "/usr/sbin/prlctl"); err != nil {
			return "", err
		}
	}
	res, err := c.Runner.Run(ctx, run.Command{Path: path, Args: args, Changes: changes})
	var failed *run.Error
	if errors.As(err, &failed) && strings.Contains(failed.Stdout+failed.Stderr, "Cannot lock the Container") {
		err = fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return res.Stdout, err
}

// ErrLocked: somebody else works on the container. The words are those of libvzctl's error
// VZCTL_E_LOCK, which prlctl passes on (seen in its output by this project's stand-in only).
var ErrLocked = errors.New("somebody else is changing the container")

// List returns all containers of the node, templates not among them.
func (c Client) List(ctx context.Context) ([]Container, error) {
	out, err := c.run(ctx, false, "list", "-a", "--vmtype", "ct", "-o", "uuid,envid,name,status", "-j")
	if err != nil {
		return nil, err
	}
	return parseList(out)
}

func parseList(out string) ([]Container, error) {
	var all []struct{ UUID, EnvID, Name, Status string }
	if err := decode(out, &all); err != nil {
		return nil, fmt.Errorf("output of prlctl list: %w", err)
	}
	var list []Container
	for _, r := range all {
		uuid, ok := ParseUUID(r.UUID)
		if !ok || r.Status == "" {
			return nil, fmt.Errorf("output of prlctl list: container %q with uuid %q in state %q is not understood", r.Name, r.UUID, r.Status)
		}
		if r.Name == "-" {
			r.Name = ""
		}
		ctid := strings.Trim(r.EnvID, "{}-")
		if !ValidCTID(ctid) {
			ctid = uuid
		}
		list = append(list, Container{UUID: uuid, CTID: ctid, Name: raw(r.Name), State: r.Status})
	}
	return list, nil
}

// runDir is where libvzctl keeps the pid of each container's init
// (VZCTL_VE_RUN_DIR).
const runDir = "/var/run/ve"

// Init returns the pid of the container's init as the node has recorded it. The
// record may be stale: the caller compares roots.
func (p Place) Init() (int, error) {
	dir := p.Run
	if dir == "" {
		dir = runDir
	}
	b, err := os.ReadFile(filepath.Join(dir, p.CTID+".init.pid"))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s/%s.init.pid: %q is no process", dir, p.CTID, b)
	}
	return pid, nil
}

// Describe returns where the container lives.
func (c Client) Describe(ctx context.Context, uuid string) (Place, error) {
	out, err := c.run(ctx, false, "list", "-i", "-j", uuid)
	if err != nil {
		return Place{}, err
	}
	var all []struct {
		ID, EnvID, Home string
	}
	if err := decode(out, &all); err != nil {
		return Place{}, fmt.Errorf("output of prlctl list -i: %w", err)
	}
	if len(all) != 1 {
		return Place{}, fmt.Errorf("output of prlctl list -i %s: %d containers, one was asked for", uuid, len(all))
	}
	if id, ok := ParseUUID(all[0].ID); !ok || id != uuid {
		return Place{}, fmt.Errorf("output of prlctl list -i %s: tells of %q", uuid, all[0].ID)
	}
	home := raw(all[0].Home)
	if !filepath.IsAbs(home) || filepath.Clean(home) == "/" || strings.ContainsRune(home, 0) {
		return Place{}, fmt.Errorf("output of prlctl list -i %s: home %q is not understood", uuid, home)
	}
	return c.place(filepath.Clean(home), all[0].EnvID)
}

// place reads the container's own configuration, and the node's where that is silent.
func (c Client) place(private, ctid string) (Place, error) {
	conf, err := ReadConfig(filepath.Join(private, "ve.conf"))
	if err != nil {
		return Place{}, err
	}
	node, err := c.Node()
	if err != nil {
		return Place{}, err
	}
	// libvzctl writes VEID when it registers a container; prlctl tells the same
	// as EnvID (it calls vzctl by it); the private area is mostly called so.
	p := Place{Private: private, CTID: conf.Get("VEID"), Config: conf}
	if p.CTID == "" {
		p.CTID = strings.Trim(ctid, "{}-")
	}
	if p.CTID == "" {
		p.CTID = filepath.Base(private)
	}
	if !ValidCTID(p.CTID) {
		return Place{}, fmt.Errorf("%s: %q is no container id", private, p.CTID)
	}
	root := conf.Get("VE_ROOT")
	if root == "" {
		root = node.Get("VE_ROOT")
	}
	p.Root = filepath.Clean(expand(root, p.CTID))
	if !filepath.IsAbs(p.Root) || p.Root == "/" {
		return Place{}, fmt.Errorf("%s: VE_ROOT %q is no absolute path of a container's root", private, root)
	}
	if dir := node.LockDir(); dir != "" {
		p.Lock = filepath.Join(dir, p.CTID+".lck")
	}
	return p, nil
}

// Node reads the node's own configuration.
func (c Client) Node() (Config, error) {
	path := c.Conf
	if path == "" {
		path = "/etc/vz/vz.conf"
	}
	return ReadConfig(path)
}

// PrivateFor returns where the node keeps the private area of a container with
// this id, RootFor where it mounts its root disk.
func (c Client) PrivateFor(ctid string) (string, error) { return c.nodePath("VE_PRIVATE", ctid) }

// Areas returns a pattern, in filepath.Glob's language, that the private areas of
// the node match.
func (c Client) Areas() (string, error) { return c.nodePath("VE_PRIVATE", "*") }

// RootFor: see PrivateFor.
func (c Client) RootFor(ctid string) (string, error) { return c.nodePath("VE_ROOT", ctid) }

func (c Client) nodePath(key, ctid string) (string, error) {
	node, err := c.Node()
	if err != nil {
		return "", err
	}
	path := filepath.Clean(expand(node.Get(key), ctid))
	if !filepath.IsAbs(path) || !strings.Contains(path, ctid) {
		return "", fmt.Errorf("vz.conf: %s=%q gives no path for container %s", key, node.Get(key), ctid)
	}
	return path, nil
}

// template takes the name of an OS template apart: os, version, architecture.
var template = regexp.MustCompile(`^\.?([A-Za-z0-9][A-Za-z0-9_.+-]*)-([A-Za-z0-9_.+]+)-(x86_64|x86|i[3-6]86|aarch64|ppc64|ppc64le)(-[A-Za-z0-9_.+-]+)?$`)

// HasTemplate reports whether the node has the OS template that ve.conf calls name,
// such as .centos-7-x86_64. vzpkg keeps it in os/version/architecture below the
// directory TEMPLATE of vz.conf.
func (c Client) HasTemplate(name string) (bool, error) {
	node, err := c.Node()
	if err != nil {
		return false, err
	}
	dir := node.Get("TEMPLATE")
	if dir == "" {
		dir = "/vz/template"
	}
	part := template.FindStringSubmatch(name)
	if part == nil {
		return false, nil
	}
	st, err := os.Stat(filepath.Join(dir, part[1], part[2], part[3]))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && st.IsDir(), err
}

// Register makes the private area known to the node under its own UUID.
func (c Client) Register(ctx context.Context, private string) error {
	_, err := c.run(ctx, true, "register", private, "--preserve-uuid")
	return err
}

// Start starts the container.
func (c Client) Start(ctx context.Context, uuid string) error {
	_, err := c.run(ctx, true, "start", uuid)
	return err
}

// Stop stops the container.
func (c Client) Stop(ctx context.Context, uuid string) error {
	_, err := c.run(ctx, true, "stop", uuid)
	return err
}

// Unregister makes the node forget the container, which does not run. Its private area
// stays as it is.
func (c Client) Unregister(ctx context.Context, uuid string) error {
	_, err := c.run(ctx, true, "unregister", uuid)
	return err
}

// Owns reports whether this node is the one that private, a container's private
// area, is registered on, as libvzctl decides it (vzctl2_check_owner): the file
// .owner has the node's SERVER_UUID of vz.conf, or its host name; without the file
// it is nobody else's. owner is what the file says.
func (c Client) Owns(private string) (ours bool, owner string, err error) {
	b, err := regular.ReadFile(filepath.Join(private, ".owner"), 4096)
	if errors.Is(err, os.ErrNotExist) {
		return true, "", nil
	}
	if err != nil {
		return false, "", err
	}
	owner, _, _ = strings.Cut(string(b), "\n")
	if id, ok := ParseUUID(owner); ok {
		node, err := c.Node()
		if err != nil {
			return false, owner, err
		}
		if server, ok := ParseUUID(node.Get("SERVER_UUID")); ok {
			return server == id, owner, nil
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return false, owner, err
	}
	// It may have been written with its domain, or without.
	short := func(name string) string { s, _, _ := strings.Cut(name, "."); return s }
	return owner == host || short(owner) == short(host), owner, nil
}

// ValidCTID reports whether s is a UUID without braces, or the number of an older
// container (vzctl2_parse_ctid of libvzctl): files of the node are called by it.
func ValidCTID(s string) bool {
	if _, ok := ParseUUID(s); ok {
		return len(s) == 36
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

// ParseUUID brings a UUID, with or without braces and in any case, into the form
// of Container.UUID.
func ParseUUID(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
		s = s[1 : len(s)-1]
	}
	if len(s) != 36 {
		return "", false
	}
	for i, r := range s {
		switch i {
		case 8, 13, 18, 23:
			if r != '-' {
				return "", false
			}
		default:
			if !strings.ContainsRune("0123456789abcdef", r) {
				return "", false
			}
		}
	}
	return s, true
}
