// Package rootless makes a user without privileges root of a user namespace, in which the rest of stepexec runs
// unchanged: a program calls Resume first and Run when it Needs privileges, and goes on in a child of itself.
//
// The child has a user, a mount and a process namespace of its own. Its root is the user, and its other users are the
// user's subordinate ids of /etc/subuid and /etc/subgid, which newuidmap and newgidmap write. It is process 1 of its
// process namespace: when it dies, by whatever signal, the kernel kills all that it has started, and its mounts go
// with it. See user_namespaces(7) and pid_namespaces(7).
//
// It is not for the user namespaces of single steps: those are the sandbox's.
package rootless
