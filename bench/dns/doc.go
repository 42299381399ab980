// Package dns measures answers over UDP and TCP: ours, as the whole product serves
// them, side by side with NSD and Knot in one run, with dnsperf as the client, the
// same names on all, one core for the server and one for the client, then both for
// both. It needs the Debian packages nsd and dnsperf and two cores; Knot (package
// knot) is left out where it is not installed.
package dns
