package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A socket is one line of /proc/net/tcp.
type socket struct {
	local, remote uint16 // ports
	state         uint8
	inode         uint64
}

// States of a socket, as the kernel numbers them.
const (
	established = 1
	listening   = 10
)

// parseSocket reads a line of /proc/net/tcp or tcp6; false for their heads and for what is no such line.
func parseSocket(line string) (s socket, ok bool) {
	f := strings.Fields(line)
	const local, remote, state, inode = 1, 2, 3, 9
	if len(f) <= inode {
		return s, false
	}
	port := func(address string) uint16 {
		_, text, found := strings.Cut(address, ":")
		n, err := strconv.ParseUint(text, 16, 16)
		ok = ok && found && err == nil
		return uint16(n)
	}
	ok = true
	s.local, s.remote = port(f[local]), port(f[remote])
	st, err := strconv.ParseUint(f[state], 16, 8)
	ok = ok && err == nil
	s.state = uint8(st)
	s.inode, err = strconv.ParseUint(f[inode], 10, 64)
	if !ok || err != nil {
		return socket{}, false
	}
	return s, true
}

// sockets returns the TCP sockets of this machine.
func sockets() []socket {
	var out []socket
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // another system, or no IPv6
		}
		for line := range strings.Lines(string(b)) {
			if s, ok := parseSocket(line); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// inodes returns the sockets that a process has open, as far as we may see them.
func inodes(pid int) map[uint64]bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	out := map[uint64]bool{}
	for _, e := range list {
		to, err := os.Readlink(dir + "/" + e.Name())
		if err != nil {
			continue // it is closed
		}
		text, ok := strings.CutPrefix(to, "socket:[")
		n, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
		if ok && err == nil {
			out[n] = true
		}
	}
	return out
}

// connections returns how many connections a process has to each of these ports.
func connections(pid int, ports []uint16) map[uint16]int {
	own := inodes(pid)
	out := map[uint16]int{}
	for _, s := range sockets() {
		if s.state == established && own[s.inode] && slices.Contains(ports, s.remote) {
			out[s.remote]++
		}
	}
	return out
}

// listeners returns the processes that listen on a port, without the children that they share it with.
func listeners(port uint16) []int {
	wanted := map[uint64]bool{}
	for _, s := range sockets() {
		if s.state == listening && s.local == port {
			wanted[s.inode] = true
		}
	}
	list, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids, theirs []int
	for _, e := range list {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		for inode := range inodes(pid) {
			if wanted[inode] {
				pids, theirs = append(pids, pid), append(theirs, children(pid)...)
				break
			}
		}
	}
	return slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(theirs, pid) })
}
