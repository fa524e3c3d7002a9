// What `postern metrics` tells of commands that ended long ago: they leave it in the state folder.

extension MetricFamily {
    /// In the place of a daemon's name.
    public static let commandLine = "postern"
    public static let backupTime = "postern_backup_last_success_timestamp_seconds"
    public static let backupSize = "postern_backup_last_size_octets"

    static let commands: [MetricFamily] = {
        let own = Maker(daemon: commandLine)
        return [
            own.gauge(
                backupTime,
                "When postern backup create last made a whole archive, since 1970; absent where it never did."),
            own.gauge(backupSize, "Size of that archive."),
        ]
    }()
}
