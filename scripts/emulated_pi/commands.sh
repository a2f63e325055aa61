# The commands of docs/raspberry-pi.md, one a line, in the shell that reads this; each is told with its seconds.

commands() {
    sed -n '/^```sh$/,/^```$/{/^```/!p}' docs/raspberry-pi.md
}

page() { # `until` a command, that one included, or what comes `after` it
    local part=$1 last=$2 line began
    grep -qxF "$last" <(commands) || { echo "the page has no command $last"; return 1; }
    sed -n '/^```python$/,/^```$/{/^```/!p}' docs/raspberry-pi.md >search.py
    if [ "$part" = after ]; then source .venv/bin/activate; fi
    while IFS= read -r line <&3; do
        echo "\$ $line"
        began=$SECONDS
        eval "$line"
        echo "($((SECONDS - began)) s)"
    done 3< <(if [ "$part" = until ]; then commands | sed "/^$last\$/q"; else commands | sed "1,/^$last\$/d"; fi)
}
