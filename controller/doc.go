// Package controller is the shell around the pure core: it observes the world
// (DNS, certificates, targets), asks ownership what that means, writes the
// status, and schedules the next look. It decides nothing itself. Its Resolver
// sees DNS where it is made, at the authoritative name servers, and alone here
// knows of DNS messages.
package controller
