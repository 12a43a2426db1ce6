// Package export writes pipelines as files of other CI systems: Drone and Woodpecker. Whatever
// such a file has no words for is an error that names the key: a pipeline that does less than
// the one it was made of could be green without having done its work.
package export
