// Package house holds the tests that keep the tree as its plan draws it: which
// room may import which, one package comment a package, examples that adapt.
package house
