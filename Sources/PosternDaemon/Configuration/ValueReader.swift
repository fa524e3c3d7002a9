// What reading one value needs to know beside the value: which file it stands in, under which key, and whether files
// that it names may be opened. It collects the problems.

/// The state of decoding one configuration.
struct ValueReader {
    /// The configuration as the admin named it.
    let file: String
    /// The configuration's folder, absolute; relative paths begin there.
    let folder: String
    /// A folder that stands for `/`; empty for the system itself.
    let root: String
    /// The key that is read now, such as `host.networks`.
    var keyPath = ""
    /// Whether files that the table names are opened. A daemon opens those of its own tables only.
    var opensFiles: Bool { files.opens }
    /// What is done with the files that the table names.
    var files = FileAccess(opens: true, readers: [])
    private(set) var problems: [ConfigurationProblem] = []
    /// Lists and zones that values name, absolute.
    private(set) var namedFiles: [String] = []
    /// What is right and yet hardly meant.
    private(set) var advice: [ConfigurationProblem] = []

    /// Most problems that are told. A configuration with more is some other file.
    static let maxProblems = 1000

    init(file: String, folder: String, root: String = "") {
        self.file = file
        self.folder = folder
        self.root = root
    }

    /// Notes a problem of the key that is read now.
    mutating func report(_ text: String, at position: SourcePosition) {
        report(text, at: position, keyPath: keyPath)
    }

    mutating func report(_ text: String, at position: SourcePosition, keyPath: String) {
        add(
            ConfigurationProblem(
                file: file, line: position.line, column: position.column, keyPath: keyPath, text: text,
                anchor: position))
    }

    /// Notes a problem in a file that the value at `anchor` names.
    mutating func report(_ text: String, inFile name: String, line: Int, column: Int, anchor: SourcePosition) {
        add(
            ConfigurationProblem(
                file: name, line: line, column: column, keyPath: keyPath, text: text, anchor: anchor))
    }

    /// Notes what is right and yet hardly meant.
    mutating func advise(_ text: String, at position: SourcePosition, keyPath: String) {
        guard advice.count < Self.maxProblems else { return }
        advice.append(
            ConfigurationProblem(
                file: file, line: position.line, column: position.column, keyPath: keyPath, text: text,
                severity: .warning, anchor: position))
    }

    /// Reads a file that the value at `position` names, and reports what keeps it from being read now, or by the users
    /// of the daemons.
    /// - Returns: nil if it cannot be read now.
    mutating func octets(ofFile path: String, cap: Int, at position: SourcePosition) -> [UInt8]? {
        if !namedFiles.contains(path) { namedFiles.append(path) }
        do throws(FileError) {
            let octets = try FileReading.octets(path, cap: cap)
            for user in files.readers {
                if let text = FileRights.obstacle(to: path, for: user) { report(text, at: position) }
            }
            return octets
        } catch {
            report("expected a readable file \(printable(path)), found \(error.found)", at: position)
            return nil
        }
    }

    /// Whether no more problems are noted; then none need be looked for.
    var isFull: Bool { problems.count >= Self.maxProblems }

    private mutating func add(_ problem: ConfigurationProblem) {
        guard !isFull else { return }
        problems.append(problem)
        if problems.count == Self.maxProblems {
            problems.append(
                ConfigurationProblem(
                    file: file, line: 0, column: 0, keyPath: "",
                    text: "expected fewer than \(Self.maxProblems) problems; the others are not told",
                    anchor: SourcePosition(line: .max, column: 0)))
        }
    }

    /// An absolute path for one that the configuration gives.
    func path(_ text: String) -> String {
        let path = text.hasPrefix("/") ? text : "\(folder == "/" ? "" : folder)/\(text)"
        // What packages bring is the system's own, and in no backup.
        return path.hasPrefix("/usr/") ? path : root + path
    }
}
