// Package command writes and examines the template that DNS providers are given. It
// knows nothing of Caddy.
package command
