// Package pack makes stored values short and reads them again, for every engine and
// copy that keeps them. What it writes begins with a byte that says how; what once was
// written is read for ever. It knows nothing of keys, revisions or checksums, which are
// their keepers', but for what all checksums begin with. Whatever it is given to read,
// it neither panics nor returns more than MaxPlain bytes.
package pack
