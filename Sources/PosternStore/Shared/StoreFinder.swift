// Which server a shared store's URL means at the moment, and what is needed to log in there: names are looked up,
// Sentinels asked and the password's file read. All of that takes as long as it likes, so it is the keeper's thread
// that does it, and again after each failure. Source: redis.io, "Guidelines for Redis clients with support for
// Sentinel".

internal import Glibc
internal import PosternAdmission
import Synchronization

final class StoreFinder: Sendable {
    private let url: StoreURL
    private let settings: StoreSettings
    /// Reading the system's certificates takes a while, so they are read once, and again when a try has failed.
    private let tls = Mutex<StoreTLS?>(nil)

    /// What one Sentinel may take.
    static let sentinelTime = Duration.seconds(1)
    /// Most octets of a password's file.
    static let maxPasswordOctets = 4096

    init(_ url: StoreURL, _ settings: StoreSettings) { (self.url, self.settings) = (url, settings) }

    func find() throws(StoreFailure) -> StoreTarget {
        let password = try settings.passwordPath.map { (path) throws(StoreFailure) in try Self.password(in: path) }
        guard let server = url.scheme.asksSentinels ? try master(password) : url.servers.first else {
            throw .unreachable("store.url names no server")
        }
        return StoreTarget(
            addresses: try StoreAddress.of(server), tls: try tls(to: server), password: password, user: settings.user,
            database: url.database)
    }

    /// A try has failed: the certificates may be other ones by the next.
    func forget() { tls.withLock { $0 = nil } }

    /// A Sentinel names the master by its address, or by its name where it was told to (`resolve-hostnames`,
    /// `announce-hostnames`): the master's certificate must be for that.
    private func tls(to server: StoreURL.Server) throws(StoreFailure) -> (common: StoreTLS, host: String)? {
        guard url.scheme.usesTLS else { return nil }
        if let known = tls.withLock({ $0 }) { return (known, server.host) }
        let made = try StoreTLS(authoritiesPath: settings.authoritiesPath)
        tls.withLock { $0 = made }
        return (made, server.host)
    }

    /// The file's first line.
    private static func password(in path: String) throws(StoreFailure) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .system("store.password_file \(path)") }
        defer { close(descriptor) }
        var octets = [UInt8](repeating: 0, count: maxPasswordOctets + 1)
        let count = read(descriptor, &octets, octets.count)
        guard count >= 0 else { throw .system("store.password_file \(path)") }
        let line = octets.prefix(count).prefix { $0 != 0x0A && $0 != 0x0D }
        guard !line.isEmpty, line.count <= maxPasswordOctets else {
            throw .unreachable("store.password_file \(path): expected the password in its first line")
        }
        return Array(line)
    }

    // MARK: Sentinels

    /// Whom the first Sentinel that knows the master names. Whether it is the master is asked of itself (StoreKeeper).
    private func master(_ password: [UInt8]?) throws(StoreFailure) -> StoreURL.Server {
        let name = url.master ?? ""
        var complaints: [String] = []
        for sentinel in url.servers {
            do throws(StoreFailure) {
                return try master(name, of: sentinel, password)
            } catch {
                complaints.append("\(sentinel): \(error)")
            }
        }
        throw .unreachable("no Sentinel names the master \(name): \(complaints.joined(separator: "; "))")
    }

    private func master(
        _ name: String, of sentinel: StoreURL.Server, _ password: [UInt8]?
    ) throws(StoreFailure) -> StoreURL.Server {
        let addresses = try StoreAddress.of(sentinel)
        let tls = try tls(to: sentinel)
        let question = ["SENTINEL", "get-master-addr-by-name", name].map { Array($0.utf8) }
        func ask(_ password: [UInt8]?) throws(StoreFailure) -> StoreReply {
            let target = StoreTarget(addresses: addresses, tls: tls, password: password, user: nil, database: 0)
            let deadline = StoreDeadline.after(Self.sentinelTime)
            let connection = try StoreConnection(to: target, until: deadline, timeout: Self.sentinelTime)
            let replies = try connection.exchange([question], until: deadline, timeout: Self.sentinelTime)
            return try replies.first?.get() ?? .null
        }
        let reply: StoreReply
        do {
            reply = try ask(nil)
        } catch .refused(.password, _) where password != nil {
            reply = try ask(password)  // it has one too; most have none, and would refuse to hear of it
        }
        guard case .array(let place) = reply else { throw .unreachable("it does not know that name") }
        guard place.count == 2, let host = place.first?.text, !host.isEmpty,
            let port = place.last?.text.flatMap(UInt16.init), port > 0
        else { throw .malformed("it names no address and port") }
        return StoreURL.Server(host: StoreFailure.printable(host.utf8), port: port)
    }
}
