#compdef gearsctl
# Completion of gearsctl for zsh: source <(gearsctl completion zsh), or a file _gearsctl in fpath.
_gearsctl() {
    local -a found
    local word meaning
    while IFS=$'\t' read -r word meaning; do
        case $word in
        :files) _files && return ;;
        :dirs) _files -/ && return ;;
        :command) _command_names && return ;;
        *) found+=("${word//:/\\:}${meaning:+:$meaning}") ;;
        esac
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    _describe -t gearsctl gearsctl found
}
if [[ ${funcstack[1]} == _gearsctl ]]; then
    _gearsctl "$@"
else
    compdef _gearsctl gearsctl
fi
