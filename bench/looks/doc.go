// Package looks measures the controller at work on many records whose name
// servers are slow or dead: a full pass, the heap, what the dead cost the
// others, and the time from publication to the flipped condition. DNS runs in
// the same process, on loopback addresses, and shares the processor.
package looks
