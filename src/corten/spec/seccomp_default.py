"""Docker's default seccomp profile (moby/profiles, seccomp/default.json of July 2026), as data of our own.

What is not named gets EPERM. Kept out on purpose: making namespaces, mounting, modules, kernel logs, keyrings,
io_uring, userfaultfd, and sockets of the families AF_ALG (38) and AF_VSOCK (40).

Against the profile of Docker 20.10: socket() was allowed for every family, and io_uring_* altogether; ptrace was, but
process_vm_readv and process_vm_writev were not; memory protection keys and calls newer than Linux 5.16 were refused.
"""

from __future__ import annotations

from typing import Any

from corten.spec.json import Json

# For all containers. The topics are for readers; the profile is one flat list.
COMMON: dict[str, str] = {
    "sockets and messages": """
        accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
        recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
    """,
    "extended attributes": """
        fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat
        llistxattr lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
    """,
    "clocks and timers": """
        adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
        clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time
        timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
        timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times
    """,
    "waiting for descriptors": """
        _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
        epoll_wait_old eventfd eventfd2 fanotify_mark futex futex_requeue futex_time64 futex_wait futex_waitv
        futex_wake inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
        io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit poll ppoll ppoll_time64 pselect6
        pselect6_time64 select signalfd signalfd4
    """,
    "System V and POSIX queues, semaphores, memory": """
        ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
        mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
        semtimedop_time64 shmat shmctl shmdt shmget
    """,
    "memory": """
        brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap
        mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
        process_mrelease remap_file_pages
    """,
    "users and groups": """
        capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid
        getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid
        setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
        setreuid32 setuid setuid32
    """,
    "scheduling and limits": """
        getcpu getpriority getrlimit getrusage ioprio_get ioprio_set prlimit64 sched_get_priority_max
        sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
        sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
        sched_setscheduler sched_yield setpriority setrlimit ugetrlimit
    """,
    "signals": """
        kill pause pidfd_send_signal restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
        rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack
        sigprocmask sigreturn tgkill tkill
    """,
    "processes and threads": """
        execve execveat exit exit_group fork get_robust_list get_thread_area getpgid getpgrp getpid getppid
        getrandom getsid gettid landlock_add_rule landlock_create_ruleset landlock_restrict_self pidfd_open
        prctl riscv_hwprobe rseq seccomp set_robust_list set_thread_area set_tid_address setpgid setsid sysinfo
        umask uname uretprobe vfork wait4 waitid waitpid
    """,
    "paths": """
        access chdir chmod chown chown32 creat faccessat faccessat2 fchdir fchmod fchmodat fchmodat2 fchown
        fchown32 fchownat fstat fstat64 fstatat64 fstatfs fstatfs64 futimesat getcwd lchown lchown32 link linkat
        listmount lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2
        readlink readlinkat rename renameat renameat2 rmdir stat stat64 statfs statfs64 statmount statx symlink
        symlinkat unlink unlinkat utime utimensat utimensat_time64 utimes
    """,
    "descriptors and data": """
        _llseek cachestat close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 fallocate fcntl
        fcntl64 fdatasync flock fsync ftruncate ftruncate64 getdents getdents64 ioctl lseek pipe pipe2 pread64
        preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice sync
        sync_file_range syncfs tee truncate truncate64 vmsplice write writev
    """,
}

# Calls that come with a capability.
WITH_CAPABILITY: tuple[tuple[str, str], ...] = (
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
        lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
        sethostname setns syslog umount umount2 unshare
        """,
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
)

# Calls of single architectures, by Go's names for these.
WITH_ARCHITECTURE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("ppc64le",), "sync_file_range2 swapcontext"),
    (("arm", "arm64"), "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    (("amd64", "x32"), "arch_prctl"),
    (("amd64", "x32", "x86"), "modify_ldt"),
    (("s390", "s390x"), "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    (("riscv64",), "riscv_flush_icache"),
)

# Before Linux 4.8 ptrace could step around the filter.
TRACING = "process_vm_readv process_vm_writev ptrace"

# personality(2): Linux, Linux with 32-bit uname, both with UNAME26 off/on as programs ask for, and "query only".
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# Every CLONE_NEW* that clone(2) can pass: NS, CGROUP, UTS, IPC, USER, PID, NET.
CLONE_NAMESPACES = 0x7E020000
_ENOSYS = 38

# The address families AF_ALG (38) and AF_VSOCK (40) have no place in a container; each rule is a range around them.
SOCKET_FAMILIES = ((38, "SCMP_CMP_LT"), (39, "SCMP_CMP_EQ"), (40, "SCMP_CMP_GT"))

# Architecture, and what else its kernels run.
ARCHITECTURES: tuple[tuple[str, tuple[str, ...] | None], ...] = (
    ("X86_64", ("X86", "X32")),
    ("AARCH64", ("ARM",)),
    ("MIPS64", ("MIPS", "MIPS64N32")),
    ("MIPS64N32", ("MIPS", "MIPS64")),
    ("MIPSEL64", ("MIPSEL", "MIPSEL64N32")),
    ("MIPSEL64N32", ("MIPSEL", "MIPSEL64")),
    ("S390X", ("S390",)),
    ("RISCV64", None),
    ("LOONGARCH64", None),
)


def profile() -> Json:
    """The profile in the shape of Docker's JSON, to be resolved for a container or written to a file."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {
                "architecture": f"SCMP_ARCH_{name}",
                "subArchitectures": None if below is None else [f"SCMP_ARCH_{other}" for other in below],
            }
            for name, below in ARCHITECTURES
        ],
        "syscalls": _entries(),
    }


def _allow(names: str, **more: Any) -> Json:
    return {"names": names.split(), "action": "SCMP_ACT_ALLOW", **more}


def _argument(value: int, operator: str, index: int = 0) -> list[Json]:
    return [{"index": index, "value": value, "op": operator}]


def _entries() -> list[Json]:
    common = sorted(" ".join(COMMON.values()).split())
    return [
        _allow(" ".join(common)),
        _allow(TRACING, includes={"minKernel": "4.8"}),
        *(_allow("socket", args=_argument(value, operator)) for value, operator in SOCKET_FAMILIES),
        *(_allow("personality", args=_argument(value, "SCMP_CMP_EQ")) for value in PERSONALITIES),
        *(_allow(names, includes={"arches": list(arches)}) for arches, names in WITH_ARCHITECTURE),
        *(_allow(names, includes={"caps": [capability]}) for capability, names in WITH_CAPABILITY[:2]),
        *_cloning(),
        *(_allow(names, includes={"caps": [capability]}) for capability, names in WITH_CAPABILITY[2:]),
    ]


def _cloning() -> list[Json]:
    """Without CAP_SYS_ADMIN: clone, but no namespaces; and not clone3, whose flags are in memory, which a filter cannot
    read. libc falls back to clone on ENOSYS. (On s390 clone has its flags second.)"""
    admin, s390 = ["CAP_SYS_ADMIN"], ["s390", "s390x"]
    return [
        _allow(
            "clone",
            args=_argument(CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ"),
            excludes={"caps": admin, "arches": s390},
        ),
        _allow(
            "clone",
            args=_argument(CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ", index=1),
            includes={"arches": s390},
            excludes={"caps": admin},
        ),
        {
            "names": ["clone3"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": _ENOSYS,
            "excludes": {"caps": admin},
        },
    ]
