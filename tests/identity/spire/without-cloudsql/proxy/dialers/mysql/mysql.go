// Package mysql stands in for the dialer of the same name, which spire-server links for databases that this bed never opens:
// its module is not to be had with a checksum from everywhere. It registers nothing.
package mysql
