// Package config reads hssgate's own configuration file: which HSS projects
// it may ask, which registries it answers for, how long answers are kept, and
// how the webhook listens.
//
// The file is YAML, versioned, and read strictly: an unknown field, a key that
// is given twice, a value of the wrong type or a second document is an error
// that names the line, and every problem of a file is reported at once.
// Everything that is left out has a default, which reference.md lists.
//
// Secrets are never written into the file. Credentials name files or
// environment variables, which hssgate reads itself.
package config
