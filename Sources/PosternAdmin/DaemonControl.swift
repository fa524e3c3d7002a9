// Asking the daemons on this machine over their control sockets: which ones there are, where they listen, and what came
// back. A daemon may be someone else's program by the time root asks it: its answer is data, and its texts are shown
// without control characters.

internal import Glibc
internal import PosternDaemon
internal import PosternMail
internal import PosternSocket

/// The daemons of this release.
enum DaemonName: String, CaseIterable, Sendable {
    case dns = "postern-dns"
    case dkim = "postern-dkim"
    case dmarc = "postern-dmarc"
    case policy = "postern-policy"
    case rate = "postern-rate"

    /// - Parameter text: `postern-dkim`, or `dkim` for short.
    init?(argument text: String) {
        guard let name = DaemonName(rawValue: text) ?? DaemonName(rawValue: "postern-\(text)") else { return nil }
        self = name
    }

    static let list = allCases.map(\.rawValue).joined(separator: ", ")

    /// Not every host has it.
    var isOptional: Bool { self == .dmarc || self == .policy || self == .rate }
}

/// What became of a question to one daemon.
enum DaemonAnswer: Sendable {
    case document(ControlDocument)
    case notRunning
    /// It could not be asked, did not answer, or would not.
    case failed(String)
}

struct DaemonControl {
    /// Where the control sockets are: `listen.control`.
    let folder: String
    /// What there is to know about how the folder was found.
    let notes: [String]

    /// Longest wait for one daemon; a reload reads keys and lists from disk.
    static let maxWait = Duration.seconds(15)

    init(_ options: GlobalOptions, _ place: ControlArguments) { self.init(options, stated: place.control) }

    /// What is told of an answer that ends before its last object.
    static let brokenOff = "expected all of the answer, found its beginning"

    /// A broken file is no reason not to ask: that may be the very question.
    /// - Parameter stated: `--control`; nil for what the configuration says.
    init(_ options: GlobalOptions, stated: String?) {
        if let stated {
            (folder, notes) = (stated, [])
            return
        }
        let result = Configuration.load(path: options.configPath, for: .dns)
        if let configuration = result.readable {
            (folder, notes) = (configuration.listen.control, [])
            return
        }
        folder = Self.defaultFolder
        let isAbsent = options.config == nil && access(options.configPath, F_OK) != 0
        notes =
            isAbsent
            ? []
            : [
                "warning: \(options.configPath) cannot be read; looking for the control sockets in \(folder), "
                    + "--control names another folder"
            ]
    }

    /// What an empty configuration says.
    private static var defaultFolder: String {
        Configuration.read([], file: "", folder: "/", for: .dns).configuration?.listen.control ?? "/run/postern"
    }

    /// The daemons that are looked at where none is named: of those that not every host has, the ones that have a control
    /// socket.
    var usual: [DaemonName] {
        DaemonName.allCases.filter { daemon in
            guard daemon.isOptional, case .unix(let path) = endpoint(daemon) else { return true }
            return access(path, F_OK) == 0
        }
    }

    /// - Parameter limit: longest wait for all of the answer.
    func ask(_ daemon: DaemonName, _ request: String, within limit: Duration = Self.maxWait) -> DaemonAnswer {
        let octets: [UInt8]
        do throws(SocketError) {
            octets = try ControlClient.ask(endpoint(daemon), request, until: .after(limit))
        } catch {
            return Self.answer(error)
        }
        return Self.answer(octets)
    }

    /// Asks for what is the daemon's own.
    func ask(_ daemon: DaemonName, _ command: ControlCommand) -> DaemonAnswer { ask(daemon, command.line) }

    /// Asks for what comes as many objects, and takes each as it comes.
    /// - Parameter silence: longest wait for more; nil: for ever, for what is followed.
    /// - Parameter take: false: no more is wanted.
    /// - Returns: `.document` when all was taken, or no more was wanted; `.failed` also when the answer breaks off.
    func read(
        _ daemon: DaemonName, _ command: ControlCommand, silence: Duration? = Self.maxWait,
        _ take: (ControlDocument) -> Bool
    ) -> DaemonAnswer {
        var outcome = DaemonAnswer.failed(Self.brokenOff)
        do throws(SocketError) {
            try ControlClient.lines(endpoint(daemon), command.line, silence: silence) { line in
                outcome = Self.answer(line)
                guard case .document(let document) = outcome, document != ControlAnswer.completed else { return false }
                guard take(document) else { return false }
                outcome = .failed(Self.brokenOff)
                return true
            }
        } catch {
            return Self.answer(error)
        }
        return outcome
    }

    private func endpoint(_ daemon: DaemonName) -> Endpoint {
        ControlSocket.endpoint(folder: folder, program: daemon.rawValue)
    }

    private static func answer(_ error: SocketError) -> DaemonAnswer {
        switch error {
        case .system(_, ENOENT), .system(_, ECONNREFUSED), .system(_, ENOTDIR): .notRunning
        default: .failed("\(error)")
        }
    }

    private static func answer(_ octets: [UInt8]) -> DaemonAnswer {
        do throws(ControlDocumentError) {
            let document = try ControlDocument(octets)
            if let trouble = document["error"]?.text { return .failed(Self.printable(trouble)) }
            return .document(document)
        } catch {
            return .failed("\(error)")
        }
    }

    /// A daemon's text for a terminal: what could move the cursor becomes `?`.
    static func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    switch scalar.properties.generalCategory {
                    case .control, .format, .lineSeparator, .paragraphSeparator: "?"
                    default: scalar
                    }
                }))
    }
}

extension JSONValue {
    init(_ document: ControlDocument) {
        self =
            switch document {
            case .text(let text): .text(text)
            case .number(let number): .number(Int(number))
            case .boolean(let flag): .boolean(flag)
            case .list(let elements): .list(elements.map(JSONValue.init))
            case .object(let members): .object(members.map { Member(key: $0.key, value: JSONValue($0.value)) })
            case .null: .null
            }
    }
}
