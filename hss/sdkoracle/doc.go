// Package sdkoracle holds tests only: they compare hssgate's HSS client, its
// signatures and its test server with Huawei Cloud's official SDK for Go. It is
// a module of its own, so that the SDK and what it brings in are no
// dependencies of hssgate. Run them with "go test ./..." in this directory.
package sdkoracle
