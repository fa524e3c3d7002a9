// The archives in a folder, as their names and manifests tell.

internal import PosternDaemon
internal import PosternMail

/// One archive in a folder.
struct ListedBackup {
    let name: BackupName
    let path: String
    /// What its manifest says; nil where that cannot be read.
    let manifest: BackupManifest?
    /// Of the file.
    let octets: Int?
    /// Why it is no whole archive; nil where nothing shows. The octets between its ends were not looked at.
    let trouble: String?

    init(_ name: BackupName, in folder: BackupFolder) {
        self.name = name
        path = folder.path(of: name.text)
        do throws(CommandFailure) {
            let reader = try ArchiveReader(path, isWholeChecked: false)
            (manifest, octets, trouble) = (reader.manifest, reader.octets, nil)
        } catch {
            (manifest, octets, trouble) = (nil, nil, error.text)
        }
    }
}

extension BackupFolder {
    /// Names of archives, newest first.
    func archiveNames() throws(CommandFailure) -> [BackupName] {
        try names().compactMap { BackupName($0) }.sorted { ($0.created, $0.host) > ($1.created, $1.host) }
    }

    /// Archives, newest first.
    func archives() throws(CommandFailure) -> [ListedBackup] {
        try archiveNames().map { ListedBackup($0, in: self) }
    }
}
