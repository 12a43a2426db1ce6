// Package rootless makes a user without privileges root of a user namespace, in which the rest of
// stepexec runs unchanged. A program first calls Resume; if privileges are Needed it calls Run,
// which continues the program in a child process.
//
// The child has its own user, mount and process namespaces. Root of the namespace is the user, and
// its other users are the user's subordinate ids from /etc/subuid and /etc/subgid, which newuidmap
// and newgidmap map. The child is process 1 of its process namespace: when it dies, by whatever
// signal, the kernel kills everything that it has started, and its mounts disappear. See
// user_namespaces(7) and pid_namespaces(7).
//
// The user namespaces of single steps belong to package sandbox.
package rootless
