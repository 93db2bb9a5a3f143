# memcpy by words: the last eight bytes are taken first and put last, over what the words before them have written, so
# that no byte is copied alone. Clobbers only what the C calling convention allows; the direction flag is clear.
    .section .text.memcpy, "ax", @progbits
    .globl memcpy
    .type memcpy, @function
memcpy:
    mov %rdi, %rax
    mov %rdx, %rcx
    cmp $8, %rdx
    jb 1f
    mov -8(%rsi,%rdx), %r8
    shr $3, %rcx
    rep movsq
    mov %r8, -8(%rax,%rdx)
    ret
1:  rep movsb
    ret
    .size memcpy, . - memcpy
    .text
