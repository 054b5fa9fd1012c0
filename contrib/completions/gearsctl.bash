# Completion of gearsctl for bash: source <(gearsctl completion bash)
_gearsctl() {
    local word
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        case $word in
        :files) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
        :dirs) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
        :command) mapfile -t COMPREPLY < <(compgen -c -- "$2") ;;
        *) COMPREPLY+=("$word") ;;
        esac
    done < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _gearsctl gearsctl
