// Package pages has the dashboard's pages looked at in a real browser, with as many
// records in the product as an operator may have.
package pages
