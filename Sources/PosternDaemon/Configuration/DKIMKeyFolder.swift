// `directory` of a `[[dkim.key]]`: a folder in which every SELECTOR.pem is a key of one domain. The files' times say which
// is newer. What does not end in .pem, and what begins with a dot, is no key: a key file is renamed once it is whole.

internal import Glibc
public import PosternMail

/// A `[[dkim.key]]` with a directory.
public struct DKIMKeyDirectory: Hashable, Sendable {
    /// `d=`.
    public let domain: DomainName
    /// Absolute.
    public let path: String

    /// Most keys of one directory. Old ones go once their records may; more are some other folder.
    public static let maxKeys = 16

    /// - Returns: nil if it has none.
    init?(_ table: TableValues) {
        guard let domain = table[DKIMKeyTable.domain], let path = table[DKIMKeyTable.directory] else { return nil }
        (self.domain, self.path) = (domain, path)
    }
}

enum DKIMKeyFolder {
    static let maxKeys = DKIMKeyDirectory.maxKeys
    private static let maxNames = 10_000
    private static let suffix = ".pem"

    struct File {
        let selector: DomainName
        let path: String
        let made: UnixTime
    }

    /// The keys' files, oldest first: by modification time, then name.
    /// - Throws: `expected …, found …`.
    static func files(in folder: String) throws(Unfit) -> [File] {
        var files: [File] = []
        for name in try names(in: folder) {
            let path = "\(folder)/\(name)"
            var status = stat()
            guard stat(path, &status) == 0 else {
                throw Unfit("expected a key, found \"\(String(cString: strerror(errno)))\" at \(printable(path))")
            }
            let text = String(name.dropLast(suffix.count))
            // The error says no more than that it is none.
            guard let selector = try? DomainName(text), selector.isHostname(minLabels: 1) else {
                throw Unfit("expected files that are named SELECTOR\(suffix), found \(printable(path))")
            }
            let made = UnixTime(seconds: Int64(status.st_mtim.tv_sec)) + .nanoseconds(status.st_mtim.tv_nsec)
            files.append(File(selector: selector, path: path, made: made))
        }
        return files.sorted { ($0.made, $0.path) < ($1.made, $1.path) }
    }

    private static func names(in folder: String) throws(Unfit) -> [String] {
        guard let stream = opendir(folder) else {
            throw Unfit(
                "expected a folder of keys, found \"\(String(cString: strerror(errno)))\" at \(printable(folder))")
        }
        defer { closedir(stream) }
        var names: [String] = []
        var count = 0
        while let entry = readdir(stream) {
            count += 1
            guard count <= maxNames else {
                throw Unfit("expected a folder of keys, found more than \(maxNames) files in \(printable(folder))")
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                // readdir(3): it ends with a NUL.
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name.hasSuffix(suffix), !name.hasPrefix(".") else { continue }
            names.append(name)
            guard names.count <= maxKeys else {
                throw Unfit("expected at most \(maxKeys) keys, found more in \(printable(folder)): remove old ones")
            }
        }
        return names
    }
}

/// A key as a `[[dkim.key]]` names it: by selector and file, or as one of its directory's.
struct DeclaredKey {
    let table: TableValues
    let selector: DomainName?
    let file: String?
    /// nil where the file is named.
    let directory: String?
    let made: UnixTime?

    var domain: DomainName? { table[DKIMKeyTable.domain] }
    var selectorPlace: (position: SourcePosition, keyPath: String) { place(of: DKIMKeyTable.selector) }
    var filePlace: (position: SourcePosition, keyPath: String) { place(of: DKIMKeyTable.file) }

    private func place(of key: any KeyDeclaration) -> (position: SourcePosition, keyPath: String) {
        let key: any KeyDeclaration = directory == nil ? key : DKIMKeyTable.directory
        return (table.position(of: key), "\(table.path).\(key.name)")
    }

    /// The keys of a table; one, but for a directory.
    /// - Parameter user: who must be able to list the directory.
    static func all(_ table: TableValues, user: UserIdentity, _ reader: inout ValueReader) -> [DeclaredKey] {
        let named: [any KeyDeclaration] = [DKIMKeyTable.selector, DKIMKeyTable.file]
        guard table.gives(DKIMKeyTable.directory) else {
            for key in named where !table.gives(key) {
                reader.report(
                    "expected the key \"\(key.name)\" in \(table.declaration.header), found none; for example: "
                        + "\(key.name) = \(key.sample)",
                    at: table.position, keyPath: "\(table.path).\(key.name)")
            }
            return [
                DeclaredKey(
                    table: table, selector: table[DKIMKeyTable.selector], file: table[DKIMKeyTable.file],
                    directory: nil,
                    made: nil)
            ]
        }
        let position = table.position(of: DKIMKeyTable.directory)
        reader.keyPath = "\(table.path).\(DKIMKeyTable.directory.name)"
        if let other = named.first(where: { table.gives($0) }) {
            reader.report("expected directory, or selector and file, found both it and \(other.name)", at: position)
            return []
        }
        guard let folder = table[DKIMKeyTable.directory], reader.opensFiles else { return [] }
        if let obstacle = FileRights.obstacle(to: folder, for: user) { reader.report(obstacle, at: position) }
        do throws(Unfit) {
            let files = try DKIMKeyFolder.files(in: folder)
            if files.isEmpty, let domain = table[DKIMKeyTable.domain] {
                reader.advise(
                    "expected a key in \(printable(folder)), found none; make one by `postern dkim rotate \(domain)`",
                    at: position, keyPath: reader.keyPath)
            }
            return files.map {
                DeclaredKey(table: table, selector: $0.selector, file: $0.path, directory: folder, made: $0.made)
            }
        } catch {
            reader.report(error.text, at: position)
            return []
        }
    }
}
