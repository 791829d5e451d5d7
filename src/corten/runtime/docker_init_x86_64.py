"""The machine code of `runtime/docker_init.py` for x86_64: on each line the bytes, then what they are in assembly.

A name and a colon is a label; `.asciz` is a text and a null. The assembly is GNU's, in Intel's order (destination
first): `tests/unit/runtime/test_docker_init.py` has as(1) make bytes of it and compares. After a change of the
assembly, take the bytes from what that test prints.

A system call has its number in eax and its arguments in rdi, rsi, rdx, r10, r8; the result is in rax, or -errno there;
rcx and r11 are lost, all others are kept. Registers that keep their meaning:

    rbp  argv of the program      ebx  in the parent: the program's process
    r15  the environment          r14  in the parent: address of the set of all signals
    r13  address of 8 bytes: the mask that was found, in the parent a wait status

Between `child` and `failed`, where the program is looked for: r9 is the length of its name with the null, rbx the next
directory of PATH, r13 0 for the last one, r14 the error so far.
"""

CODE = r"""
start:
    4989e4                mov r12, rsp                      # argc, argv and the environment, as execve(2) leaves them
    418b0c24              mov ecx, [r12]                    # argc
    498d6c2418            lea rbp, [r12+24]                 # argv + 2: the program and its arguments
    4d8d7ccc10            lea r15, [r12+rcx*8+16]           # the environment begins behind the null that ends argv
    83f903                cmp ecx, 3
    0f8c20020000          jl usage
    498b442410            mov rax, [r12+16]                 # argv[1]
    6681382d2d            cmp word ptr [rax], 0x2d2d        # "--"
    0f8510020000          jne usage
    80780200              cmp byte ptr [rax+2], 0
    0f8506020000          jne usage
    6a00                  push 0
    4989e5                mov r13, rsp                      # the mask that was found; later a wait status
    6aff                  push -1
    4989e6                mov r14, rsp                      # all signals
    b80e000000            mov eax, 14                       # rt_sigprocmask
    bf02000000            mov edi, 2                        # SIG_SETMASK
    4c89f6                mov rsi, r14
    4c89ea                mov rdx, r13
    41ba08000000          mov r10d, 8                       # bytes of a mask
    0f05                  syscall
    b89d000000            mov eax, 157                      # prctl
    bf24000000            mov edi, 36                       # PR_SET_CHILD_SUBREAPER
    be01000000            mov esi, 1
    0f05                  syscall
    b838000000            mov eax, 56                       # clone
    bf11000000            mov edi, 17                       # SIGCHLD: as fork(2)
    31f6                  xor esi, esi
    31d2                  xor edx, edx
    4531d2                xor r10d, r10d
    4531c0                xor r8d, r8d
    0f05                  syscall
    85c0                  test eax, eax
    0f8869010000          js failed
    747d                  jz child
    89c3                  mov ebx, eax                      # the program's process
wait:
    b880000000            mov eax, 128                      # rt_sigtimedwait
    4c89f7                mov rdi, r14                      # all signals
    31f6                  xor esi, esi
    31d2                  xor edx, edx                      # for ever
    41ba08000000          mov r10d, 8
    0f05                  syscall
    83f811                cmp eax, 17                       # SIGCHLD
    7424                  je reap
    83f8fc                cmp eax, -4                       # EINTR: stopped and continued
    74e2                  je wait
    85c0                  test eax, eax
    0f883f010000          js failed                         # a seccomp profile forbids it
    83f815                cmp eax, 21                       # SIGTTIN
    74d5                  je wait
    83f816                cmp eax, 22                       # SIGTTOU
    74d0                  je wait
    89c6                  mov esi, eax
    89df                  mov edi, ebx
    b83e000000            mov eax, 62                       # kill
    0f05                  syscall
    ebc3                  jmp wait
reap:
    b83d000000            mov eax, 61                       # wait4
    83cfff                or edi, -1                        # any child
    4c89ee                mov rsi, r13
    ba01000000            mov edx, 1                        # WNOHANG
    4531d2                xor r10d, r10d
    0f05                  syscall
    85c0                  test eax, eax
    74aa                  jz wait                           # no other one has ended
    0f8809010000          js failed                         # none is left, though the program's end was not seen
    39d8                  cmp eax, ebx
    75dd                  jne reap                          # an orphan
    418b7d00              mov edi, [r13]
    89f8                  mov eax, edi
    c1ef08                shr edi, 8                        # its exit code
    83e07f                and eax, 0x7f
    7406                  jz exit
    8db880000000          lea edi, [rax+128]                # it was ended by that signal
exit:
    b8e7000000            mov eax, 231                      # exit_group
    0f05                  syscall
child:
    b86d000000            mov eax, 109                      # setpgid
    31ff                  xor edi, edi
    31f6                  xor esi, esi
    0f05                  syscall
    b827000000            mov eax, 39                       # getpid
    0f05                  syscall
    50                    push rax
    b810000000            mov eax, 16                       # ioctl
    31ff                  xor edi, edi                      # standard input
    be10540000            mov esi, 0x5410                   # TIOCSPGRP
    4889e2                mov rdx, rsp
    0f05                  syscall
    b80e000000            mov eax, 14                       # rt_sigprocmask
    bf02000000            mov edi, 2                        # SIG_SETMASK
    4c89ee                mov rsi, r13
    31d2                  xor edx, edx
    41ba08000000          mov r10d, 8
    0f05                  syscall
    488b7500              mov rsi, [rbp]
slash:
    ac                    lodsb
    3c2f                  cmp al, 0x2f                      # "/"
    0f8499000000          je direct
    84c0                  test al, al
    75f3                  jnz slash
    482b7500              sub rsi, [rbp]
    4989f1                mov r9, rsi                       # bytes of the name, and the null
    6afe                  push -2                           # ENOENT: what is said when the program is in no directory
    415e                  pop r14
    4183f901              cmp r9d, 1
    747f                  je absent                         # the name is empty
    4c89fa                mov rdx, r15
variable:
    488b32                mov rsi, [rdx]
    4883c208              add rdx, 8
    4885f6                test rsi, rsi
    7414                  jz unset
    813e50415448          cmp dword ptr [rsi], 0x48544150   # "PATH"
    75ec                  jne variable
    807e043d              cmp byte ptr [rsi+4], 0x3d        # "="
    75e6                  jne variable
    4883c605              add rsi, 5
    eb07                  jmp measure
unset:
    488d351b010000        lea rsi, [rip+default]
measure:
    4889f7                mov rdi, rsi
    31c0                  xor eax, eax
    4883c9ff              or rcx, -1
    f2ae                  repne scasb
    4801cc                add rsp, rcx                      # room for the longest directory, "/"
    4c29cc                sub rsp, r9                       # and the name
directory:
    4889e7                mov rdi, rsp
copy:
    ac                    lodsb
    84c0                  test al, al
    7407                  jz name
    3c3a                  cmp al, 0x3a                      # ":"
    7403                  je name
    aa                    stosb
    ebf4                  jmp copy
name:
    4889f3                mov rbx, rsi                      # where the next directory begins
    440fb6e8              movzx r13d, al                    # 0: there is none
    4839e7                cmp rdi, rsp
    7403                  je current                        # an empty one is the working directory
    b02f                  mov al, 0x2f
    aa                    stosb
current:
    488b7500              mov rsi, [rbp]
    4c89c9                mov rcx, r9
    f3a4                  rep movsb
    4889e7                mov rdi, rsp
    e87d000000            call run
    83f8fe                cmp eax, -2                       # ENOENT
    7408                  je next
    83f8ec                cmp eax, -20                      # ENOTDIR
    7403                  je next
    4189c6                mov r14d, eax                     # why this one was not run; the next may be
next:
    4889de                mov rsi, rbx
    4585ed                test r13d, r13d
    75bc                  jnz directory
absent:
    4489f0                mov eax, r14d
    eb09                  jmp failed
direct:
    488b7d00              mov rdi, [rbp]
    e85a000000            call run
failed:
    89c3                  mov ebx, eax
    488d35bd000000        lea rsi, [rip+prefix]
    e883000000            call write
    488b7500              mov rsi, [rbp]
    e87a000000            call write
    488d35b6000000        lea rsi, [rip+missing]
    bd7f000000            mov ebp, 127
    83fbfe                cmp ebx, -2                       # ENOENT
    7418                  je say
    bd7e000000            mov ebp, 126
    488d35ad000000        lea rsi, [rip+denied]
    83fbf3                cmp ebx, -13                      # EACCES
    7407                  je say
    488d35b6000000        lea rsi, [rip+other]
say:
    e84c000000            call write
    89ef                  mov edi, ebp
    e9c3feffff            jmp exit
usage:
    488d35b4000000        lea rsi, [rip+help]
    bd7d000000            mov ebp, 125
    ebe6                  jmp say
run:
    4889ee                mov rsi, rbp
    4c89fa                mov rdx, r15
    b83b000000            mov eax, 59                       # execve
    0f05                  syscall
    83f8f8                cmp eax, -8                       # ENOEXEC
    7524                  jne back
    ff7500                push qword ptr [rbp]
    48897d00              mov [rbp], rdi                    # a script without "#!" is the shell's, as with execvp(3)
    488d3d36000000        lea rdi, [rip+shell]
    488d75f8              lea rsi, [rbp-8]                  # the shell's name is put where "--" was
    48893e                mov [rsi], rdi
    b83b000000            mov eax, 59                       # execve
    0f05                  syscall
    b8f8ffffff            mov eax, -8
    8f4500                pop qword ptr [rbp]
back:
    c3                    ret
write:
    4889f7                mov rdi, rsi
    31c0                  xor eax, eax
    4883c9ff              or rcx, -1
    f2ae                  repne scasb
    48f7d1                not rcx
    488d51ff              lea rdx, [rcx-1]                  # bytes before the null
    bf02000000            mov edi, 2                        # standard error
    b801000000            mov eax, 1                        # write
    0f05                  syscall
    c3                    ret
shell:
    .asciz "/bin/sh"
default:
    .asciz "/bin:/usr/bin"
prefix:
    .asciz "docker-init: "
missing:
    .asciz ": not found\n"
denied:
    .asciz ": permission denied\n"
other:
    .asciz ": cannot be run\n"
help:
    .asciz "usage: docker-init -- PROGRAM [ARGUMENT...]\n"
"""
