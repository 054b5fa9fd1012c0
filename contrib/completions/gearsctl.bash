# Completion of gearsctl for bash: source <(gearsctl completion bash)
_gearsctl() {
    local word current broken
    local -a words
    COMPREPLY=()
    # bash breaks words at "@": they are taken from the line, and what it holds to be another word
    # is left out of the answers.
    read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:blank:]] ]] && words+=("")
    current=${words[${#words[@]} - 1]}
    broken=${current%"$2"}
    [[ $broken == *@ ]] || broken=
    while IFS=$'\t' read -r word _; do
        case $word in
        :files) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
        :dirs) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
        :command) mapfile -t COMPREPLY < <(compgen -c -- "$2") ;;
        *) COMPREPLY+=("${word#"$broken"}") ;;
        esac
    done < <("$1" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _gearsctl gearsctl
