// Package inventoryfile reads inventory files, which say what HSS knows of images.
// A [Client] answers from one in place of an hss.Client; package hsstest serves
// one over HTTP.
package inventoryfile
