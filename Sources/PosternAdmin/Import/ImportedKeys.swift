// Where keys lie that another signer uses: in its own folder, which postern-dkim may not enter, or as copies in a folder of
// ours, so that both can sign until the change is done. Nothing is copied here; the commands that do it are told.

/// What an import says of key files.
struct ImportedKeys {
    /// Where copies shall lie, an absolute path; nil: keys stay where they are.
    var folder: String?
    /// Before the names that settings have, as `--root` says.
    var root = ""
    /// One command for each copy.
    private(set) var commands: [String] = []

    /// The file that the configuration names for a key.
    mutating func place(of file: String, _ domain: String, _ selector: String) -> String {
        guard let folder else { return file }
        let copy = "\(folder)/\(domain)/\(selector).pem"
        let command =
            "install -D -m 0400 -o postern-dkim -g postern-dkim \(PostfixEdit.quoted(root + file)) "
            + PostfixEdit.quoted(copy)
        if !commands.contains(command) { commands.append(command) }
        return copy
    }

    /// Comment lines, of which those that begin with `run: ` are for a shell.
    var head: [String] {
        guard folder != nil else {
            return ["Of OpenDKIM's settings. Key files: chown postern-dkim, mode 0400; then postern check."]
        }
        return ["Of OpenDKIM's settings."]
            + (commands.isEmpty ? [] : ["Copies of its keys, which postern-dkim can read, are made by"])
            + commands.map { "run: \($0)" }
    }
}
