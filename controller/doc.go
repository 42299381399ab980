// Package controller is the shell around the pure core: it observes the world
// (DNS, certificates, targets), asks ownership what that means, writes the
// status, and schedules the next look. It decides nothing itself, and knows of
// DNS what resolver tells it.
package controller
