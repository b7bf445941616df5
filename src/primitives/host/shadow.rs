//! The programs that change users and groups. A system that comes without them, as one of BusyBox alone does, keeps the same
//! files: shell functions take their place there.

/// Defines what is missing: `useradd`, `usermod`, `userdel`, `groupadd`, `groupmod`, `groupdel` with the options that are used
/// here, all in their long form. Each file is replaced whole.
pub const TOOLS: &str = r#"if ! command -v usermod > /dev/null 2>&1; then
settings() {
  unset uid gid groups shell comment home
  system= create= remove=
  for word in "$@"; do
    case $word in
    --uid=*) uid=${word#*=} ;;
    --gid=*) gid=${word#*=} ;;
    --groups=*) groups=$(printf '%s' "${word#*=}" | tr , ' ') ;;
    --shell=*) shell=${word#*=} ;;
    --comment=*) comment=${word#*=} ;;
    --home-dir=* | --home=*) home=${word#*=} ;;
    --system) system=yes ;;
    --create-home) create=yes ;;
    --remove) remove=yes ;;
    --no-create-home | --user-group | --) ;;
    -*) echo "nothing is known here of $word" >&2; return 1 ;;
    *) name=$word ;;
    esac
  done
}
edit() {
  cp -p "$1" "$1.homelab-$$" || return 1
  awk -F: "BEGIN { OFS = \":\" } $2" "$1" > "$1.homelab-$$" && mv -f "$1.homelab-$$" "$1" && return
  rm -f "$1.homelab-$$"; return 1
}
field() { n=$name f=$2 v=$3 edit "$1" '$1 == ENVIRON["n"] { $(ENVIRON["f"] + 0) = ENVIRON["v"] } { print }'; }
without() { n=$name edit "$1" '$1 != ENVIRON["n"] { print }'; }
and_a_line() { v=$2 edit "$1" '{ print } END { print ENVIRON["v"] }'; }
has() { grep -q "^$2:" "/etc/$1"; }
is_taken() { cut -d: -f3 "/etc/$1" | grep -qx "$2"; }
a_free_one() {
  free=1000; last=59999
  if [ -n "$system" ]; then free=100; last=999; fi
  while is_taken passwd $free || is_taken group $free; do
    free=$((free + 1))
    [ $free -le $last ] || { echo 'no number is free any more' >&2; return 1; }
  done
  echo $free
}
group_number() {
  has group "$1" || { echo "group '$1' does not exist" >&2; return 1; }
  grep "^$1:" /etc/group | cut -d: -f3
}
members() {
  for group in $1; do group_number "$group" > /dev/null || return 1; done
  n=$name w=$1 edit /etc/group 'BEGIN { split(ENVIRON["w"], list, " "); for (i in list) want[list[i]] = 1 }
    { count = split($4, old, ","); new = ""
      for (i = 1; i <= count; i++) if (old[i] != ENVIRON["n"]) new = new (new == "" ? "" : ",") old[i]
      if ($1 in want) new = new (new == "" ? "" : ",") ENVIRON["n"]
      $4 = new; print }'
}
groupadd() {
  settings "$@" || return 1
  if has group "$name"; then echo "group '$name' already exists" >&2; return 1; fi
  if [ -z "${gid+set}" ]; then gid=$(a_free_one) || return 1
  elif is_taken group "$gid"; then echo "GID '$gid' already exists" >&2; return 1; fi
  and_a_line /etc/group "$name:x:$gid:"
}
groupmod() {
  settings "$@" || return 1
  [ -n "${gid+set}" ] || return 0
  if is_taken group "$gid"; then echo "GID '$gid' already exists" >&2; return 1; fi
  old=$(group_number "$name") && field /etc/group 3 "$gid" || return 1
  o=$old v=$gid edit /etc/passwd '$4 == ENVIRON["o"] { $4 = ENVIRON["v"] } { print }'
}
groupdel() {
  settings "$@" && old=$(group_number "$name") || return 1
  whose=$(o=$old awk -F: '$4 == ENVIRON["o"] { print $1; exit }' /etc/passwd)
  [ -z "$whose" ] || { echo "cannot remove the primary group of user '$whose'" >&2; return 1; }
  without /etc/group
}
useradd() {
  settings "$@" || return 1
  if has passwd "$name"; then echo "user '$name' already exists" >&2; return 1; fi
  if [ -z "${uid+set}" ]; then uid=$(a_free_one) || return 1
  elif is_taken passwd "$uid"; then echo "UID $uid is not unique" >&2; return 1; fi
  if [ -n "${gid+set}" ]; then number=$(group_number "$gid") || return 1
  else
    number=$uid
    ! is_taken group "$number" || number=$(a_free_one) || return 1
    and_a_line /etc/group "$name:x:$number:" || return 1
  fi
  : "${home=/home/$name}" "${shell=/bin/sh}" "${comment=}"
  ! [ -e /etc/shadow ] || and_a_line /etc/shadow "$name:!:$(($(date +%s) / 86400)):0:99999:7:::" || return 1
  and_a_line /etc/passwd "$name:x:$uid:$number:$comment:$home:$shell" || return 1
  if [ -n "$create" ] && ! [ -e "$home" ]; then
    mkdir "$home" && { ! [ -d /etc/skel ] || cp -R /etc/skel/. "$home"; } &&
      chown -R "$uid:$number" "$home" && chmod 700 "$home" || return 1
  fi
  members "${groups-}"
}
usermod() {
  settings "$@" || return 1
  if [ -n "${gid+set}" ]; then number=$(group_number "$gid") && field /etc/passwd 4 "$number" || return 1; fi
  if [ -n "${uid+set}" ]; then
    if is_taken passwd "$uid"; then echo "UID $uid is not unique" >&2; return 1; fi
    old=$(id -u "$name") && lived=$(grep "^$name:" /etc/passwd | cut -d: -f6) && field /etc/passwd 3 "$uid" || return 1
    if [ -d "$lived" ] && [ "$lived" != / ]; then
      find "$lived" -xdev -user "$old" -exec chown -h "$uid" {} + || return 1
    fi
  fi
  [ -z "${comment+set}" ] || field /etc/passwd 5 "$comment" || return 1
  [ -z "${home+set}" ] || field /etc/passwd 6 "$home" || return 1
  [ -z "${shell+set}" ] || field /etc/passwd 7 "$shell" || return 1
  [ -z "${groups+set}" ] || members "$groups"
}
userdel() {
  settings "$@" || return 1
  lived=$(grep "^$name:" /etc/passwd | cut -d: -f6)
  own=$(id -gn "$name") || return 1
  without /etc/passwd && members '' || return 1
  ! [ -e /etc/shadow ] || without /etc/shadow || return 1
  if [ "$own" = "$name" ] && [ -z "$(grep "^$own:" /etc/group | cut -d: -f4)" ]; then
    groupdel -- "$name" 2> /dev/null || :
  fi
  if [ -n "$remove" ] && [ -n "$lived" ] && [ "$lived" != / ]; then rm -rf -- "$lived"; fi
}
chpasswd() {
  while IFS=: read -r name hash; do field /etc/shadow 2 "$hash" || return 1; done
}
fi
"#;
