// Package doctor examines the operator's own set-up from outside, as customers
// and certificate authorities meet it: the delegation of the zone, its name
// servers, the edge, the authorities, the clock. Gathering is apart from
// judging: judges are pure and turn what was seen into findings, each with what
// was expected and how to mend it. The package knows of the running server only
// its configuration and a metric, read through the admin endpoint; nothing of its
// insides.
package doctor
