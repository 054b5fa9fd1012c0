# Completion of gearsctl for fish: gearsctl completion fish | source
function __gearsctl_words
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path (commandline -ct)
            case ':dirs'
                __fish_complete_directories (commandline -ct)
            case ':command'
                __fish_complete_command
            case '*'
                echo $line
        end
    end
end
complete -c gearsctl -f -a '(__gearsctl_words)'
