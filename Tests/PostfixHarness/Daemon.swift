// A built daemon of ours as a process: started with a configuration, ready when it says so as systemd would hear it
// (sd_notify(3)), its log lines collected from standard error. Ended with its owner.

public import Foundation
import Glibc

/// Where the built products are: beside the test bundle, or in $POSTERN_BIN_DIR.
public enum Products {
    public static func path(_ name: String) throws -> String {
        var folders: [URL] = []
        if let folder = ProcessInfo.processInfo.environment["POSTERN_BIN_DIR"] {
            folders.append(URL(filePath: folder, directoryHint: .isDirectory))
        }
        // The runner is .build/<triple>/debug/<package>PackageTests.xctest.
        let runner = CommandLine.arguments.first.map { URL(filePath: $0).deletingLastPathComponent() }
        let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        folders += [runner, URL(filePath: executable).deletingLastPathComponent()].compactMap { $0 }
        folders.append(SourceTree.root.appending(path: ".build/debug"))
        for folder in folders {
            let path = folder.appending(path: name).path
            if access(path, X_OK) == 0 { return path }
        }
        throw HarnessError("no built \(name) in \(folders.map(\.path).joined(separator: ", "))")
    }
}

/// The project's folder.
public enum SourceTree {
    public static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
}

/// Whom a daemon runs as: what User=, Group=, SupplementaryGroups= and CapabilityBoundingSet= are in its unit.
public struct DaemonIdentity: Sendable {
    public var user: uid_t
    public var group: gid_t
    public var supplementaryGroups: [gid_t]

    public init(user: uid_t, group: gid_t, supplementaryGroups: [gid_t] = []) {
        self.user = user
        self.group = group
        self.supplementaryGroups = supplementaryGroups
    }

    /// The command that becomes it. Source: setpriv(1).
    fileprivate var words: [String] {
        let more = supplementaryGroups.map(String.init).joined(separator: ",")
        return [
            "/usr/bin/setpriv", "--reuid=\(user)", "--regid=\(group)",
            more.isEmpty ? "--clear-groups" : "--groups=\(more)", "--no-new-privs", "--inh-caps=-all",
            "--bounding-set=-all",
        ]
    }
}

public final class Daemon: Sendable {
    public let name: String
    private let child: ChildProcess
    private let folder: TemporaryFolder
    private let guardian: Guardian
    private let errors: GrowingFile<String>

    /// Starts a product with `--config FILE` and waits until it is ready.
    /// - Parameter configuration: a file's path.
    /// - Parameter identity: whom it runs as; default: as this process.
    /// - Parameter environment: more than this process has.
    public init(
        _ name: String, configuration: String, as identity: DaemonIdentity? = nil, environment: [String: String] = [:]
    ) throws {
        self.name = name
        folder = try TemporaryFolder()
        let notification = try NotificationSocket(path: folder.file("notify").path)
        let stderr = folder.file("stderr")
        errors = GrowingFile(stderr) { String($0) }
        var program = try Products.path(name)
        if identity != nil {
            // The build may be in a folder that only root can enter.
            let copy = folder.file(name).path
            // By another process: who starts a program of another test meanwhile would hold a copy of ours open for
            // writing for a moment, and nobody could execute it (ETXTBSY, execve(2)).
            let copied = try Program.run("/bin/cp", [program, copy])
            guard copied.status == 0 else { throw HarnessError("cp \(program): \(copied.errors)") }
            program = copy
        }
        // What it shall have is not for setpriv(1), which runs as root.
        let more = environment.isEmpty ? [] : ["/usr/bin/env"] + environment.map { "\($0.key)=\($0.value)" }
        let words = (identity?.words ?? []) + more + [program, "--config", configuration]
        let child = try ChildProcess(
            words.first ?? name, Array(words.dropFirst()),
            environment: ["NOTIFY_SOCKET": notification.path], output: stderr.path, errors: stderr.path)
        self.child = child
        guardian = try Guardian(onDeath: "kill -KILL \(child.pid); rm -rf \(folder.path)")
        var told = ""
        do {
            try Await.until("READY=1 of \(name)", context: { linesText }) {
                told += try notification.receive()
                if let status = child.exitStatus { throw HarnessError("\(name) ended with \(status):\n\(linesText)") }
                return told.split(separator: "\n").contains("READY=1")
            }
        } catch {
            end()
            throw error
        }
    }

    deinit { end() }

    /// The log so far, line by line.
    public var lines: [String] { errors.lines }

    /// The lines of one message, without the tag `name[pid]: ` before the queue id.
    public func lines(queueID: String) -> [String] {
        lines.compactMap { line in line.range(of: "\(queueID): ").map { String(line[$0.lowerBound...]) } }
    }

    /// Waits for the outcome of a message: its first line in the log.
    public func outcome(queueID: String) throws -> String {
        try Await.value("a line of \(name) about \(queueID)", context: { linesText }) { lines(queueID: queueID).first }
    }

    /// Waits for a line.
    @discardableResult
    public func await(line what: String, matching condition: (String) -> Bool) throws -> String {
        try Await.value("a line of \(name): \(what)", context: { linesText }) { lines.first(where: condition) }
    }

    /// Asks it to stop, as systemd does, and waits for its end.
    /// - Returns: its exit status.
    @discardableResult
    public func stop() throws -> Int32 {
        child.send(signal: SIGTERM)
        return try child.wait()
    }

    public func send(signal: Int32) { child.send(signal: signal) }

    /// Ends it on the spot, as a crash would.
    public func kill() {
        child.send(signal: SIGKILL)
        _ = try? child.wait()  // SIGKILL cannot be refused
    }

    public var isRunning: Bool { child.exitStatus == nil }
    public var pid: pid_t { child.pid }

    private var linesText: String { lines.joined(separator: "\n") }

    private func end() {
        if isRunning { kill() }
        guardian.dismiss()
    }
}

/// A datagram socket that plays systemd's part. Source: sd_notify(3).
private final class NotificationSocket {
    let path: String
    private let descriptor: Int32

    init(path: String) throws {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw HarnessError.system("socket") }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let octets = Array(path.utf8)
        guard octets.count <= 107 else { throw HarnessError("\(path) is too long for a socket") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: octets) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0 else { throw HarnessError.system("bind \(path)") }
        chmod(path, 0o666)  // the daemon may run as another user
    }

    deinit { close(descriptor) }

    /// What was sent since the last look; empty if nothing was.
    func receive() throws -> String {
        var text = ""
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, Int32(MSG_DONTWAIT))
            guard count > 0 else { return text }
            text += String(decoding: chunk.prefix(count), as: UTF8.self) + "\n"
        }
    }
}
