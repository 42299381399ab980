// Package acme is one certificate authority and one order at it: the flow (RFC 8555)
// over acmez, the account and its faults, how long to wait for the CA, when the CA
// asks to wait, and what its refusals mean and who must act. It knows no queue, no
// record and no store; its caller decides what to order and when.
package acme
