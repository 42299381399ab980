// Package caddyapoxy holds every Caddy module of this build, one file each:
// configuration, life cycle and wiring. What they do is decided in the rooms
// they wire together; importing this package registers all of them.
package caddyapoxy
