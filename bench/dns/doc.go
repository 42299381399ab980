// Package dns measures answers over UDP: ours, as the whole product serves them,
// side by side with NSD in one run, with dnsperf as the client, the same names on
// both, one core for the server and one for the client. It needs the Debian
// packages nsd and dnsperf and two cores.
package dns
