#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-only
#
# glibc217.sh OUTDIR: makes stub libraries that have only the symbol versions of
# glibc 2.17 on x86-64 (CentOS 7), so that the linker binds the plugin to those.
# A symbol that is missing in these lists is a link error: add it with the
# version that it had in 2.17, or do without it.
set -euo pipefail
out=${1:?directory for the stub libraries}
CC=${CC:-gcc}
mkdir -p "$out"

# Functions by the version node that glibc 2.17 has them under.
libc_2_2_5="__cxa_finalize __errno_location abort calloc clearenv close environ exit
 fputc fputs free ftruncate fprintf fwrite getenv getpid lseek lseek64 malloc memchr
 memcmp memmove memset mmap munmap nanosleep open open64 pread pread64 pwrite read
 realloc setegid setenv seteuid setgid setgroups setregid setresgid setresuid
 setreuid setuid sigaction sigaddset sigemptyset sigfillset sigismember
 sigprocmask snprintf strcmp strerror strlen strncmp syscall sysconf unsetenv
 usleep vfprintf write"
libc_2_4="__stack_chk_fail"
libc_2_14="memcpy"
libpthread_2_2_5="pthread_attr_destroy pthread_attr_getstack
 pthread_attr_getstacksize pthread_attr_init pthread_attr_setdetachstate
 pthread_attr_setstacksize pthread_create pthread_detach pthread_getattr_np
 pthread_join pthread_key_create pthread_kill pthread_mutex_destroy
 pthread_mutex_init pthread_mutex_lock pthread_mutex_trylock
 pthread_mutex_unlock pthread_once pthread_self pthread_setspecific
 pthread_getspecific pthread_sigmask"
libpthread_2_3_2="pthread_cond_broadcast pthread_cond_destroy pthread_cond_init
 pthread_cond_signal pthread_cond_timedwait pthread_cond_wait"
data=" stderr stdout environ "

# stub SONAME FILE NODE "SYMBOLS" [NODE "SYMBOLS"...]: each node inherits the one before.
stub() {
  local soname=$1 file=$2 before="" node symbols s
  shift 2
  : >"$file.s"
  : >"$file.map"
  while [ $# -gt 0 ]; do
    node=$1 symbols=$2
    shift 2
    {
      echo "$node { global:"
      for s in $symbols; do echo "  $s;"; done
      [ -n "$before" ] || echo "  local: *;"
      echo "} $before;"
    } >>"$file.map"
    for s in $symbols; do
      if [[ $data == *" $s "* ]]; then
        printf '.data\n.globl %s\n.type %s,@object\n.size %s,8\n%s: .quad 0\n' "$s" "$s" "$s" "$s"
      else
        printf '.text\n.globl %s\n.type %s,@function\n%s: ret\n' "$s" "$s" "$s"
      fi
    done >>"$file.s"
    before=$node
  done
  "$CC" -shared -nostdlib -Wl,-soname,"$soname" -Wl,--version-script="$file.map" -o "$file" "$file.s"
}

stub libc.so.6 "$out/libc.so" GLIBC_2.2.5 "$libc_2_2_5 stderr stdout" \
  GLIBC_2.4 "$libc_2_4" GLIBC_2.14 "$libc_2_14"
stub libpthread.so.0 "$out/libpthread.so" GLIBC_2.2.5 "$libpthread_2_2_5" \
  GLIBC_2.3.2 "$libpthread_2_3_2"
