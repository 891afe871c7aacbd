// Package schematest checks reports against the schema of their format. It is a
// module of its own, so that hssgate doesn't depend on a validator.
package schematest
