// Package testreport reads the reports that test programs write, in the form of JUnit that all of them share.
//
// Reports come from steps, that is from strangers: a document's size, depth and number of tests are bounded, a
// document type is refused (no entity is ever expanded), and of texts only the beginning is kept.
package testreport
