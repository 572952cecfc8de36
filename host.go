package tocsin

import "strings"

// HostOf returns the host that an alert with these labels is about: the first of the labels host, node, hostname, and
// instance without its port; "" where none of them says one.
func HostOf(ls Labels) string {
	for _, name := range [...]string{"host", "node", "hostname"} {
		if v := ls.Get(name); v != "" {
			return v
		}
	}
	return withoutPort(ls.Get("instance"))
}

// withoutPort cuts a port of digits. A bare IPv6 address has no port; one in brackets loses them too.
func withoutPort(instance string) string {
	if rest, ok := strings.CutPrefix(instance, "["); ok {
		if host, _, closed := strings.Cut(rest, "]"); closed {
			return host
		}
		return instance
	}
	host, port, found := strings.Cut(instance, ":")
	if !found || host == "" || port == "" || strings.Trim(port, "0123456789") != "" {
		return instance
	}
	return host
}
