// Package nodes measures what several nodes on one etcd do and cost: writes beside bolt,
// the way of a change from node to node, the taking over of a dead node's work, and a
// store of many records. Etcd is the real one, and flushes to the disk; its members and
// all nodes share the processor, the disk and loopback.
package nodes
